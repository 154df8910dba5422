"""``python -m ticketbottle_payctl`` is ``payctl``."""

from __future__ import annotations

from ticketbottle_payctl.cli.app.main import main

main()
