"""Contain the outputs' JSON Schemas in files named ``payctl.<command>-<version>.json``. ``make docs`` writes them."""
