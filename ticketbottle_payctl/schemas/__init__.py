"""The JSON Schemas of the outputs, in files named ``payctl.<command>-<version>.json``. ``make docs`` writes them."""
