from __future__ import annotations

import pytest

CONFIG = "[profiles.prod]\n[profiles.staging]\n"


@pytest.fixture
def offered(process, tmp_path):
    """What bash is offered for the last word of a line."""
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
def test_values_are_offered(line, words, offered):
    """Profiles as the configuration file has them, the rest as the code does."""
    assert offered(line) == words


@pytest.mark.parametrize("name", ["missing.toml", "broken.toml"])
def test_a_file_that_cannot_be_read_offers_nothing(name, offered, tmp_path):
    """Pressing Tab is no place for an error."""
    (tmp_path / "broken.toml").write_text("[", "utf-8")
    assert offered("payctl -p ", PAYCTL_CONFIG=str(tmp_path / name)) == []
