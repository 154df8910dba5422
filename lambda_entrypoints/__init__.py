"""The Lambda functions: a second, thin entry to the same jobs."""
