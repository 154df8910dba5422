"""Other programs that do the same work, each in its own environment, which is made when first needed."""
