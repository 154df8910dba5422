"""Define payctl's errors. Expected outcomes (refused, duplicate, dead) are values, not errors.

::

    PayctlError
      ConfigError            a setting is missing or invalid
        BrokerRefusedError   Kafka refused the credentials, or its certificate is not trusted
      InputError             a file, an argument or a callback cannot be used
        BodyTooLargeError    the request is larger than any gateway's callback
      NotFoundError          something that the command or callback names does not exist
      GuardError             a guard stopped the command: not confirmed, protected, over the limit
      LockedError            another process holds the lock
      UnavailableError       a dependency is unavailable; trying again is safe
        DatabaseUnavailableError
        BrokerUnavailableError
      OutputError            payctl cannot write to stdout

An error has no exit code or HTTP status. The command line and the Lambda functions look up these codes in tables. The
message says what failed, and ``hint`` says what to do next. ``sql`` is the statement that the hint needs, without a
semicolon, or None. None of these three texts ever contains a key, a MAC, a password or an account number.
"""

from __future__ import annotations

from typing import ClassVar


class PayctlError(Exception):
    """The base class of every error that payctl raises on purpose."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "run the command again with -vv and report the output"
    """The hint for an error that was raised without a hint."""

    def __init__(self, message: str, *, hint: str | None = None, sql: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.advice
        self.sql = sql


class ConfigError(PayctlError):
    """A setting is missing or invalid. The message contains the variable's name, never its value."""

    code = "CONFIG"
    advice = "payctl config validate"


class BrokerRefusedError(ConfigError):
    """Kafka refused the credentials, or its certificate is not trusted."""

    code = "KAFKA_REFUSED"
    advice = "check KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_SSL and KAFKA_CA_FILE"


class InputError(PayctlError):
    """A file, an argument or a callback cannot be used. Nothing was changed."""

    code = "INPUT"
    advice = "check the file or argument that the message names; --help says what is accepted"


class BodyTooLargeError(InputError):
    """A request's body or query is larger than ``MAX_BODY_BYTES``. payctl did not process the request."""

    code = "BODY_TOO_LARGE"
    advice = "give only the callback, as the gateway sent it: no gateway sends one this large"


class NotFoundError(PayctlError):
    """Something that the command or callback refers to does not exist, such as an event, a run or a gateway."""

    code = "NOT_FOUND"
    advice = "check the name; the list commands show what exists"


class GuardError(PayctlError):
    """A guard stopped the command before it changed anything."""

    code = "GUARD"
    advice = "check with -n first, then add --yes and the options that the profile needs"


class LockedError(PayctlError):
    """Another process holds the lock that this job needs."""

    code = "LOCKED"
    advice = "try again after the other process has ended; `payctl doctor --only publishers` names it"
    retryable = True


class UnavailableError(PayctlError):
    """A dependency cannot be reached. No work was left half done, so trying again is safe."""

    code = "UNAVAILABLE"
    advice = "try again later; `payctl doctor` says what is unavailable"
    retryable = True


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL cannot be reached, refused the connection, or closed it."""

    code = "DATABASE_UNAVAILABLE"
    advice = (
        "check that the server is running and reachable, then try again; `payctl doctor --only database` checks this"
    )


class BrokerUnavailableError(UnavailableError):
    """Kafka cannot be reached, or did not acknowledge messages in time."""

    code = "KAFKA_UNAVAILABLE"
    advice = (
        "check that the brokers are running and reachable, then try again; `payctl doctor --only kafka` checks this"
    )


class OutputError(PayctlError):
    """payctl cannot write to stdout, for example because the disk is full.

    Only the output is lost, not the command's work.
    """

    code = "OUTPUT"
    advice = "free some space or name another file, then run the command again"
    retryable = True
