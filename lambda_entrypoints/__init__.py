"""The Lambda functions. They call the same jobs as the command line."""
