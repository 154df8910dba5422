"""What holds for every command: options on both sides, one document, errors in one form."""

from __future__ import annotations

import json

import pytest

from ticketbottle_payctl import __version__


@pytest.mark.parametrize(
    "arguments",
    [
        ["-o", "json", "config", "path"],
        ["config", "-o", "json", "path"],
        ["config", "path", "-o", "json"],
        ["config", "path", "--output=json"],
        ["config", "path", "-ojson"],
        ["-o", "csv", "config", "-o", "table", "path", "-o", "json"],
    ],
)
def test_a_shared_option_stands_before_or_after(arguments, invoke):
    """Wherever it is given it means the same; where it is given twice, the later one counts."""
    assert json.loads(invoke(*arguments).stdout)["command"] == "config path"


def test_the_version_is_an_option_too(invoke):
    """`payctl --version` prints the first line of `payctl version` and exits with 0, without a command."""
    shown = invoke("--version")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"payctl {__version__}\n", "")
    assert invoke("version").stdout.splitlines()[0] == shown.stdout.rstrip()


def test_the_version_option_opens_nothing(invoke):
    """`payctl --version` reads no configuration file and needs no valid setting."""
    shown = invoke("--version", "--config", "/nonexistent/config.toml", "-p", "prod", DATABASE_URL="x", LOG_LEVEL="x")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"payctl {__version__}\n", "")


def test_the_environment_chooses_the_form(invoke):
    """PAYCTL_OUTPUT is the form where none is typed, and loses to one that is, on either side."""
    assert json.loads(invoke("version", PAYCTL_OUTPUT="json").stdout)["ok"]
    assert invoke("version", "-o", "none", PAYCTL_OUTPUT="json").stdout == ""
    assert invoke("-o", "none", "version", PAYCTL_OUTPUT="json").stdout == ""


def test_an_option_s_value_may_look_like_a_shared_option(answer):
    """What follows an option that takes a value is its value, whatever it looks like."""
    document = answer(
        "verify-signature", "--query", "-v", "--provider", "vnpay", VNPAY_TMN_CODE="a", VNPAY_HASH_SECRET="b"
    )
    assert document["exit_code"] == 5


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "no such command: bogus"),
        (["verify"], "did you mean verify-signature?"),
        (["verify-signatur"], "did you mean verify-signature?"),
        (["db", "upgrad"], "no such command: db upgrad; did you mean upgrade?"),
        (["version", "--bogus"], "no such option: --bogus"),
        (["--bogus", "version"], "no such option: --bogus"),
        (["version", "extra"], "unexpected extra argument"),
        (["version", "--outp", "csv"], "no such option: --outp"),
        (["version", "--profile"], "requires an argument"),
        (["version", "--tz", "Mars/Phobos"], "is not a time zone"),
        (["version", "--tz", "../../etc/passwd"], "is not a time zone"),
        (["completion", "tcsh"], "tcsh"),
        (["completion"], "missing argument"),
        (["-v"], "missing command"),
        (["db", "-v"], "missing command"),
    ],
)
def test_wrong_usage_is_one_error_in_both_forms(arguments, words, invoke):
    """Exit 2: a line and what to try on stderr, and for -o json the one document on stdout."""
    plain, document = invoke(*arguments), invoke("-o", "json", *arguments)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert plain.stderr.startswith("error[USAGE]: ")
    assert words in plain.stderr
    assert "\ntry: payctl" in plain.stderr
    error = json.loads(document.stdout)["error"]
    assert (document.exit_code, error["code"]) == (2, "USAGE")
    assert words in error["message"]


def test_json_is_kept_where_the_command_line_breaks_before_it(invoke):
    """An error in an option before -o json is still one JSON document."""
    result = invoke("version", "--bogus", "-o", "json")
    assert json.loads(result.stdout)["command"] == "version"


@pytest.mark.parametrize("form", ["table", "csv", "none"])
def test_an_error_leaves_stdout_empty(form, invoke):
    """Where there is no place for an error in the form, stdout has nothing."""
    result = invoke("verify-signature", "/nonexistent", "-o", form)
    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.startswith("error[INPUT]: /nonexistent cannot be read: no such file or directory\ntry: ")


def test_ndjson_ends_in_a_summary(invoke):
    """Items are lines, and the last line says how it went, on failure too."""
    *items, summary = map(json.loads, invoke("config", "show", "-o", "ndjson").stdout.splitlines())
    assert {item["type"] for item in items} == {"item"}
    assert (summary["type"], summary["ok"]) == ("summary", True)
    (failed,) = map(json.loads, invoke("verify-signature", "-o", "ndjson").stdout.splitlines())
    assert (failed["type"], failed["error"]["code"]) == ("summary", "INPUT")


def test_csv_has_a_header(invoke):
    """One answer is one row under its names."""
    header, row = invoke("config", "path", "-o", "csv").stdout.splitlines()
    assert header == "path,exists"
    assert row.endswith("/payctl/config.toml,false")


def test_payctl_alone_shows_its_help_on_stderr(invoke):
    """Help that nobody asked for is no result."""
    result = invoke()
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Commands:" in result.stderr
    assert "error[USAGE]: missing command" in result.stderr


def test_an_unknown_form_is_wrong_usage(invoke):
    """In the environment as on the command line."""
    assert invoke("version", "-o", "yaml").exit_code == 2
    assert invoke("version", PAYCTL_OUTPUT="yaml").exit_code == 2


def test_quiet_leaves_only_errors(invoke):
    """-q takes notes away, never errors."""
    assert "error[INPUT]" in invoke("-q", "verify-signature").stderr


def test_colour_is_asked_for_or_absent(invoke):
    """A pipe has no colour; --color always has; NO_COLOR is overruled by it."""
    command = ["verify-signature", "--example", "zalopay"]
    assert "\x1b" not in invoke(*command).stdout
    assert "\x1b[32m✔ valid\x1b[0m" in invoke(*command, "--color", "always").stdout
    assert "\x1b[32m" in invoke("--color", "always", *command, NO_COLOR="1").stdout
    assert "\x1b" not in invoke(*command, "--color", "never").stdout


def test_completion_knows_commands_and_options(process):
    """The script's own protocol: words and options by what is typed so far."""
    asked = {"_PAYCTL_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert process(COMP_WORDS="payctl ver", **asked).stdout.split() == ["verify-signature", "version"]
    deeper = process(COMP_WORDS="payctl db ", **{**asked, "COMP_CWORD": "2"})
    assert deeper.stdout.split() == ["upgrade", "status"]
    option = process(COMP_WORDS="payctl verify-signature --ex", **{**asked, "COMP_CWORD": "2"})
    assert option.stdout.split() == ["--explain", "--example"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_payctl(shell, answer, invoke):
    """Each script asks payctl itself."""
    script = answer("completion", shell)["result"]["script"]
    assert "_PAYCTL_COMPLETE" in script
    assert invoke("completion", shell).stdout == f"{script}\n"
