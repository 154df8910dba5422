"""Check an environment's parameters against the template, before anything is uploaded.

These are the same checks that CloudFormation makes: types, patterns, limits and the template's ``Rules``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from samtranslator.yaml_helper import yaml_parse

Parameters = dict[str, str]

_NUMBER = r"-?\d+(\.\d+)?"
_ID = "([0-9a-f]{8}|[0-9a-f]{17})"
_TYPES = {
    "Number": (_NUMBER, "a number"),
    "AWS::EC2::VPC::Id": (f"vpc-{_ID}", "the id of a VPC"),
    "AWS::EC2::SecurityGroup::Id": (f"sg-{_ID}", "the id of a security group"),
    "List<AWS::EC2::Subnet::Id>": (f"subnet-{_ID}(,subnet-{_ID})*", "a list of subnet ids, separated by commas"),
}
"""The pattern and the meaning of each parameter type that allows only some values."""

_EXAMPLE = re.compile(r"(?<![A-Za-z])example|111122223333")
"""A pattern that matches the example values in ``deploy/samconfig.toml``."""


class NotDeployableError(Exception):
    """The build or a parameter is missing or wrong, or the two do not match. The message may have several lines."""


def parameters_of(template: str, given: Sequence[str]) -> Parameters:
    """Return the value of every parameter except ``Release``, from ``Name=value`` strings and the template's defaults.

    The defaults are included, because CloudFormation keeps the deployed value if a deployment does not name a
    parameter. Without the defaults, removing a line from the configuration would have no effect.

    Raises:
        NotDeployableError: a parameter is missing, unknown or given twice, its value is not allowed, or a rule of the
            template does not hold.
    """
    source = yaml_parse(template)
    declared = source["Parameters"]
    del declared["Release"]
    chosen, wrong = _read(given)
    values = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one} | chosen
    wrong += [f"{name} is missing" for name in declared.keys() - values.keys()]
    wrong += [f"{name} is not a parameter that you can set" for name in values.keys() - declared.keys()]
    wrong += [fault for name, one in declared.items() if name in values and (fault := _fault(name, one, values[name]))]
    if not wrong:
        wrong = broken_rules(source.get("Rules", {}), values)
    if wrong:
        raise NotDeployableError("\n".join(sorted(wrong)))
    return {name: values[name] for name in declared}


def is_example(value: str) -> bool:
    """Return whether a value is still an example, which names no real resource."""
    return bool(_EXAMPLE.search(value))


def broken_rules(rules: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """Return the description of each assertion in the template's ``Rules`` that does not hold for these values."""
    return [
        assertion["AssertDescription"]
        for rule in rules.values()
        if _evaluated(rule.get("RuleCondition", True), values)
        for assertion in rule["Assertions"]
        if not _evaluated(assertion["Assert"], values)
    ]


def _read(given: Sequence[str]) -> tuple[Parameters, list[str]]:
    values: Parameters = {}
    wrong = []
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            wrong.append(f"write Name=value instead of {each!r}")
        elif name in values:
            wrong.append(f"{name} is given twice")
        else:
            values[name] = value
    return values, wrong


def _fault(name: str, declared: Mapping[str, Any], value: str) -> str | None:
    """Return the reason why CloudFormation would refuse a value, or None."""
    pattern, meaning = _TYPES.get(declared["Type"], ("(?s:.*)", ""))
    if not re.fullmatch(pattern, value) and (declared["Type"] == "Number" or not is_example(value)):
        return f"{name} is {value!r}, but must be {meaning}"
    if not re.fullmatch(declared.get("AllowedPattern", "(?s:.*)"), value):
        return f"{name} does not match {declared['AllowedPattern']}"
    allowed = [str(each) for each in declared.get("AllowedValues", [value])]
    if value not in allowed:
        return f"{name} is not one of {', '.join(allowed)}"
    if "MinValue" in declared and float(value) < declared["MinValue"]:
        return f"{name} is {value}, but must be at least {declared['MinValue']}"
    if "MaxValue" in declared and float(value) > declared["MaxValue"]:
        return f"{name} is {value}, but must be at most {declared['MaxValue']}"
    return None


def _evaluated(node: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Return the result of a rule's expression. A function that the template does not use yet raises ``KeyError``."""
    if isinstance(node, list):
        return [_evaluated(each, values) for each in node]
    if not isinstance(node, dict):
        return node if isinstance(node, bool) else str(node)
    ((name, argument),) = node.items()
    if name == "Ref":
        return values[argument]
    found = _evaluated(argument, values)
    functions = {
        "Fn::Equals": lambda: found[0] == found[1],
        "Fn::Not": lambda: not found[0],
        "Fn::And": lambda: all(found),
        "Fn::Or": lambda: any(found),
        "Fn::Contains": lambda: found[1] in found[0],
    }
    return functions[name]()
