"""Deploy payctl to AWS: the build, the template, and the files generated from both. Not part of the package."""
