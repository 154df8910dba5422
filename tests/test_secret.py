"""Test that a secret shows its source's name and never its value."""

from __future__ import annotations

import pickle

import pytest

from ticketbottle_payctl.secret import Secret

SECRET = Secret("canary", "MOMO_SECRET_KEY")


@pytest.mark.parametrize("shown", [str, repr, "{}".format, "{:>20}".format, lambda value: f"{[value]}"])
def test_no_form_of_a_secret_shows_its_text(shown):
    """A secret shows only asterisks when it is printed, formatted or inside a list."""
    assert "canary" not in shown(SECRET)


def test_a_secret_has_the_name_of_its_source():
    """A secret stores its source's name, which payctl can show.

    Secrets with the same value are equal, even if their sources differ.
    """
    assert SECRET.origin == "MOMO_SECRET_KEY"
    assert Secret("canary").origin == ""
    assert Secret("canary") == SECRET


def test_a_secret_cannot_be_pickled():
    """Pickling a secret raises an error, because the pickle would contain the secret's value."""
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(SECRET)
