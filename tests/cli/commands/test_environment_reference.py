"""Test that environment.md names every variable that payctl reads, with the right default and readers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ticketbottle_payctl.cli.commands.config import names
from ticketbottle_payctl.cli.commands.config.reference import sections
from ticketbottle_payctl.cli.commands.config.variable import ALL, CLI, FUNCTIONS, WHOLE, with_default
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.settings import Settings

ROOT = Path(__file__).parents[3]
VARIABLES = {one.name: one for section in sections() for one in section.variables}
OF_GATEWAYS = {field.env.partition("_")[0] for gateway in GATEWAYS.values() for field in gateway.fields}
PREFIXES = "|".join(("PAYCTL|OTEL|PG|KAFKA|OUTBOX|AWS|DATABASE|XDG|LOG|_X_AMZN", *OF_GATEWAYS))
NOT_VARIABLES = {"DATABASE_UNAVAILABLE", "KAFKA_REFUSED", "KAFKA_UNAVAILABLE", *map(str.upper, GATEWAYS)}
"""Strings that look like variables but are error codes or the payment service's names for the gateways."""

LISTS = {"reference.py", "variables_of_cli.py", "variables_on_aws.py"}
"""The names of the files in `cli/commands/config` that list the variables."""

NOT_READ_BY_THE_PACKAGE = {"PAYCTL_KAFKA_HOME"}
"""Variables that `payctl config` knows even though only the tests read them."""

REQUIRED = {"DATABASE_URL": "postgresql://a:b@127.0.0.1:1/c", "KAFKA_BROKERS": "a:1"}


def written():
    """Return every string in the code that looks like the name of a variable."""
    found = set()
    for folder in ("ticketbottle_payctl", "lambda_entrypoints"):
        for path in (ROOT / folder).rglob("*.py"):
            if path.name not in LISTS:
                found |= set(
                    re.findall(rf'"((?:{PREFIXES})[A-Z0-9_]*|TZ|NO_COLOR|TERM|HOME|ENVIRONMENT)"', path.read_text())
                )
    return {name for name in found if not name.endswith("_")} - NOT_VARIABLES - NOT_READ_BY_THE_PACKAGE


def test_every_variable_of_the_code_is_in_the_reference():
    """environment.md contains a line for each variable that payctl reads."""
    missing = written() - VARIABLES.keys()
    assert missing == set(), "add them to ticketbottle_payctl/cli/commands/config/reference.py, then run `make docs`"


def test_a_setting_that_is_not_in_the_table_of_defaults_is_reported():
    """If a setting in environment.md is missing from the table of defaults, the error names the file to change."""
    with pytest.raises(KeyError, match=r"add PAYCTL_QUIET_HOURS to .*/config/names.py: DEFAULTED"):
        with_default("PAYCTL_QUIET_HOURS", WHOLE, (CLI,), "8", "The quiet hours.")


def test_every_variable_of_the_reference_is_in_the_code():
    """environment.md lists only variables that payctl reads."""
    made = {name for name in VARIABLES if name.endswith((names.PREVIOUS, names.SECRET_ARN))}
    assert VARIABLES.keys() - written() - made == {"AWS_ENDPOINT_URL"}  # botocore reads this variable itself


def test_every_variable_of_payctl_config_is_in_the_reference():
    """environment.md contains a line for each variable that `payctl config` shows."""
    known = {*names.DEFAULTED, *names.PLAIN, *names.ASKED_AT, *names.HIDDEN, *names.ONLY_WHERE_SET}
    without_a_function = {name for name in names.ARNS if name not in VARIABLES}
    assert known - VARIABLES.keys() == without_a_function
    for name in without_a_function:
        assert VARIABLES[name.removesuffix(names.SECRET_ARN)].readers == (CLI,)


@pytest.mark.parametrize("name", names.DEFAULTED)
def test_each_default_in_the_reference_is_the_code_s_default(name):
    """Setting a variable to its default from environment.md does not change payctl's settings."""
    assert Settings.from_env({name: VARIABLES[name].default, **REQUIRED}) is not None
    given, absent = Settings.from_env({name: VARIABLES[name].default}), Settings.from_env({})
    assert [getattr(given, field) for field in _fields()] == [getattr(absent, field) for field in _fields()]


def _fields():
    return [field for field in Settings.__dataclass_fields__ if field != "environ"]


@pytest.mark.parametrize(
    "name", [*names.DEFAULTED, "KAFKA_BROKERS", "KAFKA_SSL", "KAFKA_SASL_MECHANISM", "PAYCTL_DB_POOL"]
)
def test_each_example_in_the_reference_is_accepted(name):
    """`payctl` accepts every example in environment.md as a setting."""
    settings = Settings.from_env({**REQUIRED, name: VARIABLES[name].example})
    assert settings.kafka.brokers
    assert settings.database.pooled in {True, False}


def test_the_reference_names_the_functions_that_get_a_variable():
    """If the template sets a variable for a Lambda function, environment.md says that the function reads it."""
    template = json.loads((ROOT / "deploy" / "cloudformation.json").read_text("utf-8"))
    shared = {
        "PGSSLMODE",
        "PGSSLROOTCERT",
        "OUTBOX_MAX_RETRIES",
        "PAYCTL_ALERTS_TOPIC_ARN",
    }  # every function gets these variables
    seen = set()
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Lambda::Function":
            function = resource["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
            seen.add(function)
            for name in resource["Properties"]["Environment"]["Variables"].keys() - shared:
                assert function in VARIABLES[name].readers, (function, name)
    assert seen == set(FUNCTIONS)


def test_each_variable_has_one_complete_line_in_the_reference():
    """Each variable has one line in environment.md, with its format, its readers, an example and its meaning."""
    every = [one for section in sections() for one in section.variables]
    assert len(every) == len(VARIABLES)
    for one in every:
        assert one.kind, one.name
        assert one.readers, one.name
        assert set(one.readers) <= set(ALL), one.name
        assert one.example, one.name
        assert one.meaning.endswith("."), one.name
