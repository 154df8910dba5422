"""Check that the JSON documents that commands print match payctl's JSON Schemas."""

from __future__ import annotations

from functools import cache
from typing import Any

from jsonschema_rs import Draft202012Validator

from ticketbottle_payctl.cli.commands import schema


def validate(document: dict[str, Any], name: str | None = None) -> dict[str, Any]:
    """Validate a document, including the format of its values, and return the schema.

    Without ``name``, validate the document against the schema that the document names.
    """
    found, validator = _schema(name or document["schema"])
    validator.validate(document)
    return found


@cache
def _schema(name: str) -> tuple[dict[str, Any], Draft202012Validator]:
    found = schema.load(name)
    return found, Draft202012Validator(found, validate_formats=True)
