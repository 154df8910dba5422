"""Build payctl for AWS, generate files from the template, and deploy payctl.

The wheel does not contain this package.
"""
