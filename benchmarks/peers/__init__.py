"""Others who do the same work, each in an environment of its own that is made when first needed."""
