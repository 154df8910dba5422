"""Check an environment's parameters against the template before anything is uploaded.

CloudFormation makes the same checks: types, patterns, limits and the template's ``Rules``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from deploy.configuration import is_example
from deploy.template import read_template

Parameters = dict[str, str]

_NUMBER = r"-?\d+(\.\d+)?"
_ID = "([0-9a-f]{8}|[0-9a-f]{17})"
_DIGITS = "and 8 or 17 hexadecimal digits (0-9, a-f)"
_TYPES = {
    "Number": (_NUMBER, "a number"),
    "AWS::EC2::VPC::Id": (f"vpc-{_ID}", f"the id of a VPC: vpc- {_DIGITS}"),
    "AWS::EC2::SecurityGroup::Id": (f"sg-{_ID}", f"the id of a security group: sg- {_DIGITS}"),
    "List<AWS::EC2::Subnet::Id>": (
        f"subnet-{_ID}(,subnet-{_ID})*",
        f"a list of subnet ids, separated by commas, each with subnet- {_DIGITS}",
    ),
}
"""The pattern and the meaning of each parameter type that allows only some values."""


class Read(NamedTuple):
    """The parameters of an environment.

    ``values`` contains every parameter with a value, and ``sound`` contains only the parameters whose values are
    allowed. ``wrong`` contains a line for each fault.
    """

    values: Parameters
    sound: Parameters
    wrong: list[str]


def read_parameters(template: str, given: Sequence[str]) -> Read:
    """Return every parameter except ``Release``, from ``Name=value`` strings and the template's defaults.

    The defaults are included, because CloudFormation keeps a parameter's deployed value if a deployment omits the
    parameter. Without the defaults, removing a line from the configuration would have no effect.
    """
    source = read_template(template)
    declared = source["Parameters"]
    del declared["Release"]
    chosen, wrong = _read(given)
    values = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one} | chosen
    wrong += [f"{name} is missing" for name in declared.keys() - values.keys()]
    wrong += [f"{name!r} is not a parameter that you can set" for name in values.keys() - declared.keys()]
    known = {name: values[name] for name in declared if name in values}
    faults = {name: fault for name, value in known.items() if (fault := _fault(name, declared[name], value))}
    sound = {name: value for name, value in known.items() if name not in faults}
    return Read(known, sound, [*wrong, *faults.values(), *broken_rules(source.get("Rules", {}), sound)])


def broken_rules(rules: Mapping[str, Any], values: Mapping[str, str]) -> list[str]:
    """Return the descriptions of the assertions in the template's ``Rules`` that these values violate.

    Assertions about a parameter that is not in ``values`` are left out.
    """
    return [
        assertion["AssertDescription"]
        for rule in rules.values()
        for assertion in rule["Assertions"]
        if values.keys() >= {*_references(rule.get("RuleCondition")), *_references(assertion["Assert"])}
        and _evaluated(rule.get("RuleCondition", True), values)
        and not _evaluated(assertion["Assert"], values)
    ]


def _read(given: Sequence[str]) -> tuple[Parameters, list[str]]:
    values: Parameters = {}
    wrong = []
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or name != name.strip() or value != value.strip():
            wrong.append(f"{each!r} is not a parameter: write NAME=VALUE without spaces around the =")
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
        return f"{name} {declared['ConstraintDescription']}"
    allowed = [str(each) for each in declared.get("AllowedValues", [value])]
    if value not in allowed:
        return f"{name} is not one of {', '.join(allowed)}"
    if "MinValue" in declared and float(value) < declared["MinValue"]:
        return f"{name} is {value}, but must be at least {declared['MinValue']}"
    if "MaxValue" in declared and float(value) > declared["MaxValue"]:
        return f"{name} is {value}, but must be at most {declared['MaxValue']}"
    return None


def _references(node: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """Yield the name of each parameter that a rule's expression refers to."""
    if isinstance(node, list):
        for each in node:
            yield from _references(each)
    elif isinstance(node, dict):
        for name, argument in node.items():
            if name == "Ref":
                yield argument
            else:
                yield from _references(argument)


def _evaluated(node: Any, values: Mapping[str, str]) -> Any:  # noqa: ANN401 - JSON
    """Return the result of a rule's expression. An unsupported function raises ``KeyError``."""
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
