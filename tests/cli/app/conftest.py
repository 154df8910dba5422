"""Provide the shells in which the tests complete a command line."""

from __future__ import annotations

import shutil

import pytest

from tests.conftest import IN_CI


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request):
    """Return the name of a shell. If the shell is not installed, the test fails in CI and is skipped elsewhere."""
    name = request.param
    if shutil.which(name) is None:
        reason = f"{name} is not installed"
        pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
    return name
