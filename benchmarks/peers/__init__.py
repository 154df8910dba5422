"""Other programs that do the same work. Each has its own environment, which is made on first use."""
