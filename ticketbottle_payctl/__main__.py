"""Run ``payctl`` for ``python -m ticketbottle_payctl``."""

from __future__ import annotations

from ticketbottle_payctl.cli.app.main import main

main()
