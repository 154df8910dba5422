"""Test that a profile's guard protects its database, no matter which profile or URL spelling a command uses."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.cli.safety.conftest import REPAIR, ROWS
from ticketbottle_payctl.cli.profile.guard_in_force import in_force
from ticketbottle_payctl.cli.profile.profiles import load

pytestmark = pytest.mark.postgres


SHARED = """
[profiles.dev]
DATABASE_URL = "postgresql://dev@127.0.0.1:1/dev"
KAFKA_BROKERS = "dev-1:9092, DEV-2"
[profiles.dev.guard]
max_affected = 100
"""
OF_OTHERS = {
    "protected": ("protected = true", ["--yes"], "--reason TEXT --confirm other"),
    "read_only": ("read_only = true", ["--yes"], "profile other, which has the same database, is read-only"),
    "capped": ("max_affected = 5", ["--yes"], "over the limit of 5 rows for one command, set by profile other"),
}


@pytest.fixture
def reached_by_another_name(half_marked, database_url, tmp_path):
    """Return a function that configures a profile named ``other`` with the given guard.

    The profile's URL spells the test's database differently.
    """

    def world(guard):
        parts = urlsplit(database_url)
        netloc = f"somebody:else@{parts.hostname.upper()}:{parts.port}"
        spelled = parts._replace(netloc=netloc, query="schema=public&connection_limit=1").geturl()
        other = f'[profiles.other]\nDATABASE_URL = "{spelled}"\n[profiles.other.guard]\n{guard}\n'
        (tmp_path / "config.toml").write_text(SHARED + other, "utf-8")
        return half_marked

    return world


@pytest.mark.parametrize("named", [[], ["-p", "dev"]], ids=["unnamed", "named otherwise"])
@pytest.mark.parametrize("guard", OF_OTHERS)
def test_a_guard_applies_to_its_database_under_any_profile(guard, named, reached_by_another_name, answer, left):
    """A guard applies to its database, whichever profile is used.

    The error names the profile that defines the guard.
    """
    text_of_guard, given, words = OF_OTHERS[guard]
    document = answer(*REPAIR, *given, *named, **reached_by_another_name(text_of_guard))
    assert (document["exit_code"], left()) == (7, ROWS)
    assert words in f"{document['error']['message']} {document['error']['hint']}"


def test_confirm_needs_the_name_of_the_profile_that_protects_the_database(reached_by_another_name, answer, left):
    """The value of --confirm must be the name of the profile that protects the database."""
    environment = reached_by_another_name("protected = true")
    given = [*REPAIR, "--yes", "--reason", "why", "-p", "dev"]
    assert answer(*given, "--confirm", "dev", **environment)["exit_code"] == 7
    assert answer(*given, "--confirm", "other", **environment)["exit_code"] == 0
    assert left() == 0


def test_guards_of_the_default_configuration_file_always_apply(reached_by_another_name, answer, left, tmp_path):
    """Guards in the default configuration file apply even without -p and --config."""
    environment = reached_by_another_name("read_only = true")
    place = tmp_path / "payctl"
    place.mkdir()
    Path(environment.pop("PAYCTL_CONFIG")).rename(place / "config.toml")
    assert answer(*REPAIR, "--yes", XDG_CONFIG_HOME=str(tmp_path), **environment)["exit_code"] == 7
    assert answer("version", XDG_CONFIG_HOME=str(tmp_path), **environment)["exit_code"] == 0
    assert left() == ROWS


@pytest.mark.parametrize("named", ["reader", "desk"])
def test_the_stricter_guard_of_two_profiles_of_one_database_applies(named, half_marked, answer, left, tmp_path):
    """If two profiles have the same database and one of them is read-only, commands cannot change the database."""
    file, database_url = tmp_path / "both.toml", half_marked["DATABASE_URL"]
    both = "".join(f'[profiles.{name}]\nDATABASE_URL = "{database_url}"\n' for name in ("desk", "reader"))
    file.write_text(f"{both}[profiles.reader.guard]\nread_only = true\n", "utf-8")
    own = answer(*REPAIR, "--yes", "--config", str(file), "-p", named)
    leading = answer(*REPAIR, "--yes", "--config", str(file), "-p", named, DATABASE_URL=database_url)
    assert (own["exit_code"], leading["exit_code"], left()) == (7, 7, ROWS)
    assert "profile reader" in own["error"]["message"]


def test_a_configured_limit_overrides_another_profile_s_default(half_marked, answer, left, tmp_path):
    """If two profiles have the same database and one sets a limit, the other's default limit does not apply."""
    file, database_url = tmp_path / "both.toml", half_marked["DATABASE_URL"]
    both = "".join(f'[profiles.{name}]\nDATABASE_URL = "{database_url}"\n' for name in ("desk", "batch"))
    file.write_text(f"{both}[profiles.batch.guard]\nmax_affected = 2500\n", "utf-8")
    shown = answer("config", "show", "--config", str(file), "-p", "desk")["items"]
    assert next(item["value"] for item in shown if item["name"] == "guard.max_affected") == "2500"
    assert answer(*REPAIR, "--yes", "--config", str(file), "-p", "desk")["exit_code"] == 0
    assert left() == 0


SPELLINGS = (
    *("localhost:{port}/{name}", "LOCALHOST.:{port}/{name}", "[::1]:{port}/{name}", "127.0.0.1:{port}/{name}?schema=x"),
    *(
        "whatever/{name}?host=/var/run/postgresql&port={port}",
        "whatever/x?hostaddr=127.0.0.1&port={port}&dbname={name}",
    ),
    *("whatever/{name}?host=first.example,localhost&port=1,{port}", "%2Ftmp:{port}/{name}"),
)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_guard_recognises_every_spelling_of_its_server(spelling, half_marked, postgres, answer, left, tmp_path):
    """A guard recognises its server if the URL names localhost, a loopback address, a socket, or several hosts."""
    name = half_marked["DATABASE_URL"].rpartition("/")[2]
    other = f"postgresql://u:p@{spelling.format(port=postgres.port, name=name)}"
    guard = "[profiles.other.guard]\nread_only = true\n"
    (tmp_path / "config.toml").write_text(f'[profiles.other]\nDATABASE_URL = "{other}"\n{guard}', "utf-8")
    document = answer(*REPAIR, "--yes", **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert "profile other, which has the same database, is read-only" in document["error"]["message"]


def test_libpq_variables_cannot_bypass_a_guard(half_marked, answer, left, tmp_path, postgres):
    """A libpq variable cannot bypass a guard, because payctl always connects to the server in DATABASE_URL."""
    innocent = half_marked["DATABASE_URL"].replace(f"127.0.0.1:{postgres.port}", "127.0.0.1:1")
    guarded = (
        f'[profiles.prod]\nDATABASE_URL = "{half_marked["DATABASE_URL"]}"\n[profiles.prod.guard]\nread_only = true\n'
    )
    (tmp_path / "config.toml").write_text(guarded, "utf-8")
    variables = {"PGHOSTADDR": "127.0.0.1", "PGPORT": str(postgres.port), "PGHOST": "127.0.0.1"}
    document = answer(*REPAIR, "--yes", **{**half_marked, "DATABASE_URL": innocent}, **variables)
    assert (document["exit_code"], left()) == (4, ROWS)


@pytest.mark.parametrize(("right", "code"), [(True, 7), (False, 0)])
def test_a_server_is_recognised_by_its_system_identifier(right, code, half_marked, engine, answer, left, tmp_path):
    """A guard with the server's system identifier protects this server at any address."""
    with engine.connect() as connection:
        number = connection.exec_driver_sql("SELECT system_identifier FROM pg_control_system()").scalar_one()
    name = half_marked["DATABASE_URL"].rpartition("/")[2]
    other = f'[profiles.prod]\nDATABASE_URL = "postgresql://u:p@prod-db.example/{name}"\n'
    guard = f"[profiles.prod.guard]\nread_only = true\nsystem_identifier = {number if right else number + 1}\n"
    (tmp_path / "config.toml").write_text(other + guard, "utf-8")
    assert answer(*REPAIR, "--yes", **half_marked)["exit_code"] == code
    assert left() == (ROWS if right else 0)


def test_a_server_without_a_readable_identifier_gets_the_stricter_guard(tmp_path):
    """If the role cannot read the server's identifier, a guard applies to every database with the same name."""
    file = tmp_path / "config.toml"
    file.write_text(
        '[profiles.prod]\nDATABASE_URL = "postgresql://u:p@prod-db.example/payments"\n'
        '[profiles.prod.guard]\nprotected = true\nsystem_identifier = "7391"\n',
        "utf-8",
    )
    url = {"DATABASE_URL": "postgresql://u:p@localhost:15432/payments"}
    guard = in_force(load(None, str(file), url), str(file), url)
    assert guard.protected is None
    assert guard.on_server(None, "payments").protected == "prod"
    assert guard.on_server("7391", "payments").protected == "prod"
    assert guard.on_server(None, "another").protected is None
    assert guard.on_server("7392", "payments").protected is None


def test_config_show_names_the_profile_of_a_guard(reached_by_another_name, answer):
    """If a guard comes from another profile with the same database, `payctl config show` names that profile."""
    document = answer("config", "show", **reached_by_another_name("protected = true"))
    shown = {item["name"]: (item["value"], item["origin"]) for item in document["items"]}
    assert shown["guard.protected"] == ("true", "profile other, which has the same database")
    assert shown["guard.read_only"] == ("false", "default")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "postgresql://u:canary@elsewhere/shop"}, "elsewhere:5432/shop"),
        ({"KAFKA_BROKERS": "elsewhere:9092"}, "elsewhere:9092"),
        ({"DATABASE_URL": "postgresql://another:user@127.0.0.1:1/dev?schema=x", "KAFKA_BROKERS": "dev-2,dev-1"}, None),
        ({}, None),
    ],
)
def test_a_warning_says_that_the_environment_overrides_a_profile(environment, said, invoke, tmp_path):
    """`payctl` warns if the database or the brokers in the environment differ from those in the profile."""
    file = tmp_path / "config.toml"
    file.write_text(SHARED, "utf-8")
    result = invoke("config", "path", "-p", "dev", "--config", str(file), **environment)
    assert result.exit_code == 0
    warned = [line for line in result.stderr.splitlines() if line.startswith("warning:")]
    assert [said in line and "from the environment overrides profile dev:" in line for line in warned] == (
        [True] if said else []
    )
    assert "canary" not in result.stderr


@pytest.mark.parametrize("named", [[], ["-p", "dev"]])
def test_confirm_with_another_profile_s_name_is_refused(named, half_marked, answer, left):
    """If --confirm gives the name of a different profile, payctl refuses the change."""
    document = answer(*REPAIR, "--yes", *named, "--confirm", "prod", **half_marked)
    assert (document["exit_code"], left()) == (7, ROWS)
    assert answer("db", "upgrade", *named, "--confirm", "prod", **half_marked)["exit_code"] == 7
    assert answer(*REPAIR, "--yes", "-p", "dev", "--confirm", "dev", **half_marked)["exit_code"] == 0
