"""Test the words that payctl prints when a shell asks for completions, and the install commands in the help."""

from __future__ import annotations

import subprocess

import pytest

CONFIG = "[profiles.prod]\n[profiles.staging]\n"


@pytest.fixture
def offered(process, tmp_path):
    """Return a function that returns bash's completions for the last word of a line."""
    file = tmp_path / "config.toml"
    file.write_text(CONFIG, "utf-8")

    def ask(line, **environment):
        result = process(
            _PAYCTL_COMPLETE="complete_bash",
            COMP_WORDS=line,
            COMP_CWORD=str(line.count(" ")),
            **{"PAYCTL_CONFIG": str(file), **environment},
        )
        assert result.stderr == ""
        return result.stdout.split()

    return ask


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("payctl -p ", ["prod", "staging"]),
        ("payctl doctor --profile st", ["staging"]),
        ("payctl doctor --only k", ["kafka", "keys"]),
        ("payctl publish-outbox --type PAYMENT_C", ["PAYMENT_COMPLETED", "PAYMENT_CANCELLED"]),
        ("payctl verify-signature --provider m", ["momo"]),
        ("payctl schema payctl.doc", ["payctl.doctor/1"]),
        ("payctl --tz Asia/Ho_", ["Asia/Ho_Chi_Minh"]),
        ("payctl -o n", ["ndjson", "none"]),
    ],
)
def test_completion_offers_option_values(line, words, offered):
    """Completion offers profiles from the configuration file, and values that are fixed in payctl's code."""
    assert offered(line) == words


@pytest.mark.parametrize("name", ["missing.toml", "broken.toml"])
def test_completion_ignores_an_unreadable_configuration_file(name, offered, tmp_path):
    """If the configuration file is missing or broken, completion offers no profiles and prints no error."""
    (tmp_path / "broken.toml").write_text("[", "utf-8")
    assert offered("payctl -p ", PAYCTL_CONFIG=str(tmp_path / name)) == []


@pytest.mark.parametrize("columns", ["80", "60"])
@pytest.mark.parametrize(("shell", "file"), [
    ("bash", ".local/share/bash-completion/completions/payctl"),
    ("fish", ".config/fish/completions/payctl.fish"),
])  # fmt: skip
def test_the_commands_in_the_help_of_completion_can_be_pasted(shell, file, columns, process, payctl_path, tmp_path):
    """The help of `completion` shows each command on one line. The pasted commands create missing folders."""
    text = process("completion", "--help", COLUMNS=columns).stdout
    lines = text.partition(f"For {shell}:\n")[2].partition("\n\n")[0]
    environment = {"HOME": str(tmp_path), "PATH": payctl_path}
    subprocess.run(["/bin/bash", "-euc", lines], env=environment, check=True)
    assert "payctl" in (tmp_path / file).read_text("utf-8")
