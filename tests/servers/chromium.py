"""Drive the system's Chromium with Playwright, so that tests can open pages that they serve on this machine."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from ticketbottle_payctl.errors import ConfigError

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")


class Chromium:
    """A headless browser. Only one browser can run in a thread, so a worker's tests share it."""

    playwright: Playwright
    browser: Browser

    def start(self) -> Chromium:
        """Start the browser.

        Raises:
            ConfigError: No browser is installed.
        """
        path = next(filter(None, map(shutil.which, _NAMES)), None)
        if path is None:
            message = "no browser is installed"
            raise ConfigError(message, hint="install the package chromium")
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - the quick tests do not install it

        self.playwright = sync_playwright().start()
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium has no sandbox for root
        self.browser = self.playwright.chromium.launch(executable_path=path, args=flags)
        return self

    def stop(self) -> None:
        """Close the browser and stop Playwright."""
        self.browser.close()
        self.playwright.stop()

    def __str__(self) -> str:
        """Return the browser's name and version."""
        return f"Chromium {self.browser.version}"
