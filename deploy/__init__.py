"""Deploy payctl to AWS: the build, the template, and the files generated from them. This is not part of the package."""
