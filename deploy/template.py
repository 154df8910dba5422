"""Read the template with AWS's short forms, such as ``!Ref``."""

from __future__ import annotations

from typing import Any

import yaml
from samtranslator.yaml_helper import intrinsics_multi_constructor

Template = dict[str, Any]

_Parser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's parser if PyYAML has it, because PyYAML's own parser takes half a second for the template."""


class _Loader(_Parser):  # type: ignore[misc]
    pass


_Loader.add_multi_constructor("!", intrinsics_multi_constructor)


def read_template(text: str) -> Template:
    """Return the template. Replace each short form by the function that it stands for."""
    template: Template = yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    return template
