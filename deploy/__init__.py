"""What brings payctl to AWS: the build, the template, and the files generated from both. It is not in the package."""
