"""Keep a demo running for other commands, with orders that need repair, simulated gateways, and a settings file."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ticketbottle_payctl.sandbox import callbacks
from ticketbottle_payctl.sandbox.demo.cases import Left, leave_cases
from ticketbottle_payctl.sandbox.demo.report import DemoReport
from ticketbottle_payctl.sandbox.demo.world import World
from ticketbottle_payctl.sandbox.gateway_server import GatewayOrder, GatewayRecords, gateway_server
from ticketbottle_payctl.sandbox.server import Server


@dataclass(frozen=True, slots=True)
class Kept:
    """A demo that other commands can use.

    ``settings`` contains the environment variables for the demo's servers. ``file`` sets these variables in bash, zsh
    and fish. ``left`` contains the orders that need repair.
    """

    settings: Mapping[str, str]
    file: Path
    left: Left


@contextmanager
def keep(world: World, report: DemoReport, path_entry: Path | None = None) -> Iterator[Kept]:
    """Prepare the demo for other commands during the block.

    The settings file has mode 0600, and is removed at the end, even if this process is killed. If ``path_entry`` is
    given, the file also adds this folder to PATH.
    """
    left = leave_cases(world)
    with ExitStack() as everything:
        records = GatewayRecords(_orders(report, left), callbacks.environment())
        addresses = everything.enter_context(gateway_server(records))
        settings = {"ENVIRONMENT": "demo", **world.settings, **addresses}
        directory = Server("demo")  # removes its directory at the end, even if this process is killed
        everything.callback(directory.close)
        yield Kept(settings, write_settings(directory.home / "settings", settings, path_entry), left)


def _orders(report: DemoReport, left: Left) -> dict[str, GatewayOrder]:
    """Return the gateways' data about the demo's orders, except for orders whose payment failed."""
    scenes = [step.scene for step in report.callbacks if not step.scene.failed]
    orders = [GatewayOrder(scene.payment, scene.paid) for scene in scenes]
    orders += [GatewayOrder(payment, payment.amount) for payment in left.payments]
    return {order.payment.reference: order for order in orders}


def write_settings(file: Path, settings: Mapping[str, str], path_entry: Path | None) -> Path:
    """Write the settings to a new file with mode 0600, in a format that bash, zsh and fish can read."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    if path_entry is not None:
        lines.append(f'export PATH={shlex.quote(str(path_entry))}":$PATH"')
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as opened:
        opened.write("".join(f"{line}\n" for line in lines))
    return file
