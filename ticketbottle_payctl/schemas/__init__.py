"""The JSON Schemas of the outputs, one file each: ``payctl.<command>-<version>.json``. ``make docs`` writes them."""
