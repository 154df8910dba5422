"""The JSON Schemas of the outputs, one file each: ``payctl.<command>-<version>.json``. Additions only in a version."""
