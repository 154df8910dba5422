"""Implement the Lambda functions, which call the same jobs as the command line."""
