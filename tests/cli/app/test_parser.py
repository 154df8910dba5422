"""Test the rules that all commands share for option positions, JSON documents and error output."""

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
def test_a_shared_option_may_come_before_or_after_the_command(arguments, invoke):
    """A shared option works before and after the command's name.

    If the option is given twice, the last value applies.
    """
    assert json.loads(invoke(*arguments).stdout)["command"] == "config path"


def test_the_version_option_prints_the_version(invoke):
    """Without a command, `payctl --version` prints the first line of `payctl version` and exits with 0."""
    shown = invoke("--version")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"payctl {__version__}\n", "")
    assert invoke("version").stdout.splitlines()[0] == shown.stdout.rstrip()


def test_the_version_option_opens_nothing(invoke):
    """`payctl --version` does not read the configuration file and ignores invalid settings."""
    shown = invoke("--version", "--config", "/nonexistent/config.toml", "-p", "prod", DATABASE_URL="x", LOG_LEVEL="x")
    assert (shown.exit_code, shown.stdout, shown.stderr) == (0, f"payctl {__version__}\n", "")


def test_payctl_output_chooses_the_output_format(invoke):
    """PAYCTL_OUTPUT sets the output format. The -o option overrides it, before or after the command."""
    assert json.loads(invoke("version", PAYCTL_OUTPUT="json").stdout)["ok"]
    assert invoke("version", "-o", "none", PAYCTL_OUTPUT="json").stdout == ""
    assert invoke("-o", "none", "version", PAYCTL_OUTPUT="json").stdout == ""


def test_an_option_s_value_may_look_like_a_shared_option(answer):
    """The word after an option that takes a value is that value, even if the word looks like -v."""
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
        (["db", "upgrad"], "no such command: db upgrad; did you mean db upgrade?"),
        (["version", "--bogus"], "no such option: --bogus"),
        (["--bogus", "version"], "no such option: --bogus"),
        (["version", "extra"], "unexpected extra argument"),
        (["close", "TB-1", "TB-2"], "(TB-2); close takes one ID|ORDER-CODE at a time"),
        (["runs", "show", "1", "2"], "(2); runs show takes one RUN at a time"),
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
def test_wrong_usage_is_an_error_on_stderr_and_in_json(arguments, words, invoke):
    """After a usage error, payctl exits with 2, and prints the error and a hint on stderr or in the JSON document."""
    plain, document = invoke(*arguments), invoke("-o", "json", *arguments)
    assert (plain.exit_code, plain.stdout) == (2, "")
    assert plain.stderr.startswith("error[USAGE]: ")
    assert words in plain.stderr
    assert "\ntry: payctl" in plain.stderr
    error = json.loads(document.stdout)["error"]
    assert (document.exit_code, error["code"]) == (2, "USAGE")
    assert words in error["message"]


def test_a_usage_error_before_the_output_option_is_still_json(invoke):
    """If a usage error comes before -o json on the command line, payctl still prints one JSON document."""
    result = invoke("version", "--bogus", "-o", "json")
    assert json.loads(result.stdout)["command"] == "version"


@pytest.mark.parametrize("form", ["table", "csv", "none"])
def test_an_error_leaves_stdout_empty(form, invoke):
    """After an error, stdout is empty with -o table, csv and none, because these formats cannot show an error."""
    result = invoke("verify-signature", "/nonexistent", "-o", form)
    assert (result.stdout, result.exit_code) == ("", 2)
    assert result.stderr.startswith("error[INPUT]: /nonexistent cannot be read: no such file or directory\ntry: ")


def test_ndjson_ends_in_a_summary(invoke):
    """With -o ndjson, each item is on its own line. The last line is a summary, even after a failure."""
    *items, summary = map(json.loads, invoke("config", "show", "-o", "ndjson").stdout.splitlines())
    assert {item["type"] for item in items} == {"item"}
    assert (summary["type"], summary["ok"]) == ("summary", True)
    (failed,) = map(json.loads, invoke("verify-signature", "-o", "ndjson").stdout.splitlines())
    assert (failed["type"], failed["error"]["code"]) == ("summary", "INPUT")


def test_csv_has_a_header(invoke):
    """With -o csv, payctl prints a single result as a header and one row."""
    header, row = invoke("config", "path", "-o", "csv").stdout.splitlines()
    assert header == "path,exists"
    assert row.endswith("/payctl/config.toml,false")


def test_payctl_alone_shows_a_first_screen_on_stderr(invoke):
    """`payctl` without a command exits with 2. Its output and the next prompt fit on a terminal with 24 lines."""
    result = invoke(COLUMNS="80")
    assert (result.exit_code, result.stdout) == (2, "")
    lines = result.stderr.splitlines()
    assert len(lines) <= 23
    assert max(map(len, lines)) <= 80
    assert "\nEvery day\n" in result.stderr
    assert lines[-1] == "everything: payctl --help, one command: payctl COMMAND --help"
    assert "error[" not in result.stderr


def test_payctl_alone_is_an_error_in_json(invoke):
    """With PAYCTL_OUTPUT=json, `payctl` without a command prints one document with the error."""
    document = json.loads(invoke(PAYCTL_OUTPUT="json").stdout)
    assert (document["exit_code"], document["error"]["message"]) == (2, "missing command")


def test_a_group_alone_shows_its_help(invoke):
    """`payctl runs` without a second word shows the commands of the `runs` group on stderr."""
    result = invoke("runs")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "\n  resume " in result.stderr
    assert "error[USAGE]: missing command after runs" in result.stderr


def test_an_unknown_output_format_is_wrong_usage(invoke):
    """`payctl` exits with 2 for an unknown format in -o or in PAYCTL_OUTPUT."""
    assert invoke("version", "-o", "yaml").exit_code == 2
    assert invoke("version", PAYCTL_OUTPUT="yaml").exit_code == 2


def test_quiet_leaves_only_errors(invoke):
    """With -q, payctl prints errors but no notes on stderr."""
    assert "error[INPUT]" in invoke("-q", "verify-signature").stderr


def test_a_pipe_has_colour_only_with_the_color_option(invoke):
    """`payctl` prints no colour to a pipe. --color always turns colour on, even if NO_COLOR is set."""
    command = ["verify-signature", "--example", "zalopay"]
    assert "\x1b" not in invoke(*command).stdout
    assert "\x1b[32m✔ valid\x1b[0m" in invoke(*command, "--color", "always").stdout
    assert "\x1b[32m" in invoke("--color", "always", *command, NO_COLOR="1").stdout
    assert "\x1b" not in invoke(*command, "--color", "never").stdout


def test_completion_offers_commands_and_options(process):
    """Completion offers the commands, subcommands and options that begin with the typed characters."""
    asked = {"_PAYCTL_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    assert process(COMP_WORDS="payctl ver", **asked).stdout.split() == ["verify-signature", "version"]
    deeper = process(COMP_WORDS="payctl db ", **{**asked, "COMP_CWORD": "2"})
    assert deeper.stdout.split() == ["upgrade", "status"]
    option = process(COMP_WORDS="payctl verify-signature --ex", **{**asked, "COMP_CWORD": "2"})
    assert option.stdout.split() == ["--explain", "--example"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_call_payctl(shell, answer, invoke):
    """Each shell's completion script calls payctl to get completions."""
    script = answer("completion", shell)["result"]["script"]
    assert "_PAYCTL_COMPLETE" in script
    assert invoke("completion", shell).stdout == f"{script}\n"
