"""What carries payctl to AWS: the build, the template, and what is generated from both. Never part of the package."""
