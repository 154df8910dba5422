"""Define the types of report fields, as they appear in JSON output, in the Lambda functions' results and in the log.

The ``TypedDict`` of a report's fields is in the module that defines the report. ``make docs`` generates the JSON
Schemas from these types and their docstrings. A field that was added within version 1 is ``NotRequired``, because
earlier documents of this version do not have it. At run time, values of these types are plain dictionaries, and payctl
imports no schema library.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated


class Keywords:
    """JSON Schema keywords that Python's types cannot express."""

    def __init__(self, **keywords: object) -> None:
        self._keywords = keywords

    def __get_pydantic_json_schema__(
        self, core: object, schema_of: Callable[[object], dict[str, object]]
    ) -> dict[str, object]:
        """Add the keywords to the type's schema. pydantic calls this method when the schemas are generated."""
        return {**schema_of(core), **self._keywords}


Count = Annotated[int, Keywords(minimum=0)]
"""A count, a size in bytes, or a duration in milliseconds."""

Seconds = Annotated[float, Keywords(minimum=0)]
"""A duration in seconds."""

Rate = Annotated[float, Keywords(minimum=0)]
"""A rate in events per second."""
