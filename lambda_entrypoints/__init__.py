"""The Lambda functions: a second, thin door to the same jobs."""
