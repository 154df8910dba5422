"""Other programs for the same work, each in its own environment that is made when it is first needed."""
