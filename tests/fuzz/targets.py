"""The fuzz targets. Each target has a description, a check for one input, and words that help the fuzzer."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
SEEDS, FOUND = FOLDER / "corpus", FOLDER / "found"

_JSON = ("{", "}", "[", "]", '":', '","', "null", "true", "1e5", "\\u0000", "\\ud800", '"data":', '"amount":')
_MARKS = ("\x1b[31m", "\u202e", "\u200b", "\0", "\r\n", "é", "票", "&", "=", "%25", "+")
_CONTROLS = (b"\xff", b"\xfe\x40", b"\xfe\xff")
_SIGNED = (
    *("data", "mac", "signature", "type", "app_id", "app_trans_id", "zp_trans_id", "orderCode", "paymentLinkId"),
    *("description", "reference", "currency", "code", "partnerCode", "orderId", "resultCode", "transId", "extraData"),
    *("vnp_TxnRef=", "vnp_Amount=", "vnp_ResponseCode=00", "vnp_TransactionStatus=00", "vnp_TransactionNo="),
    *("vnp_SecureHash=", "vnp_SecureHashType=SHA512", "&orderId=", "&orderCode=5", "binding_id", "msg_type"),
)
_TIMES = ("2026-11-22", "T10:00", "Z", "+07:00", "now", "today", "yesterday", "2h", "90m", " ago", "3d", "/s", "1h30m")
_ZONES = ("Asia/Ho_Chi_Minh", "UTC", "<+07>-7", "EST5EDT,M3.2.0,M11.1.0", "Etc/GMT+7")
_URLS = (
    *(
        "postgresql://",
        "postgres://",
        "u:",
        "@h:5432/d",
        "?",
        "host=",
        "hostaddr=127.0.0.1",
        "port=",
        "sslmode=require",
    ),
    *("sslaccept=strict", "sslcert=", "schema=", "password=", "%2F", "[::1]", "#", "//", "..", "dbname=", "options="),
)


@dataclass(frozen=True, slots=True)
class Target:
    """One kind of input, and the check for an input of this kind."""

    module: str
    function: str
    given: str
    """The description of the input, which the page shows."""
    words: tuple[str, ...] = ()
    longest: int = 2048
    """The length, in bytes, of the longest input. A repeated part makes the expanded string longer."""

    def load(self) -> Callable[[bytes], None]:
        """Return the function that checks one input. The check raises an exception if a guarantee does not hold."""
        check: Callable[[bytes], None] = getattr(importlib.import_module(f"tests.fuzz.{self.module}"), self.function)
        return check


TARGETS = {
    "forged": Target("callbacks", "forged", "bodies and queries of all gateways without a valid signature", _SIGNED),
    "altered": Target("callbacks", "altered", "genuine callbacks after changes of bytes, fields or spelling", _SIGNED),
    "signed": Target("callbacks", "signed", "any content with a valid signature, up to the decision", _SIGNED),
    "explained": Target("callbacks", "explained", "the same for `verify-signature --explain`", _SIGNED),
    "events": Target("functions", "events", "API Gateway's events for the webhook's function", _SIGNED),
    "headers": Target("functions", "headers", "correlation, request and trace ids in headers", ("Root=1-", "Parent=")),
    "environment": Target("configuration", "environment", "environment variables", (*_URLS, *_ZONES, "scram-sha-256")),
    "profiles": Target("configuration", "profiles_file", "the file of profiles", ("[profiles.", "guard]", "tz = ")),
    "database-url": Target("configuration", "database_url", "`DATABASE_URL` with the PGSSL variables", _URLS),
    "plans": Target("files", "plans", "plan files of `replay`", ('"events":', '"left_out":', "(0,1)", '"dead"')),
    "ids": Target("files", "ids", "files of ids and queue messages", ('"Messages":', '"Body":', "kind: event_dead\n")),
    "archives": Target("files", "archives", "archives of `cleanup`", ('{"id":', '"payload":', "\x1f")),
    "times": Target("options", "times_and_zones", "times, durations, rates and zones", (*_TIMES, *_ZONES)),
    "selectors": Target("options", "selectors", "options that select events", _TIMES),
    "changes": Target("options", "changes", "`--set` of `simulate`", ("data.", "amount=", "=null", "data.amount=")),
    "terminal": Target("output", "terminal", "lines, fields and errors on a terminal", ("`a b`", "payctl ", "5 min")),
    "tables": Target("output", "tables", "tables and lists on a terminal", _TIMES),
    "machine": Target("output", "machine", "JSON, NDJSON and CSV for programs", ("=1+1", "@x", "-2")),
    "redaction": Target("output", "redaction", "secrets in a line of the log", ("://", "password=", "41111111111111")),
}
"""The targets by name."""


def words(target: Target) -> list[bytes]:
    """Return a target's own words and the words that all targets share."""
    from tests.fuzz.oracle import SECRET  # noqa: PLC0415 - the list of targets does not need payctl

    own = target.words + (_JSON if target.words is _SIGNED or target.module == "files" else ())
    return [*_CONTROLS, *(each.encode() for each in (*own, *_MARKS, SECRET))]


def kept(folder: Path, name: str) -> list[Path]:
    """Return a target's inputs that are stored in the repository."""
    return sorted(path for path in (folder / name).glob("*") if path.is_file())
