"""A shop with the checker's audit."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.checker import audit
from tests.faults.shop import Shop
from ticketbottle_payctl.sandbox.callbacks import environment


@pytest.fixture
def shop(engine, database_url, payctl_command, tmp_path) -> Iterator[Shop]:
    """Yield a shop on the test's own database. Logging is restored after the test."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    audit.install(engine)
    variables = {**environment(), "HOME": str(tmp_path), "DATABASE_URL": database_url}
    yield Shop(engine, payctl_command, variables)
    root.handlers[:], root.level = before
