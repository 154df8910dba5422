"""Why a job could not be done. Expected answers (refused, duplicate, dead) are values, not errors.

::

    PayctlError
      ConfigError            a setting is missing or wrong
        BrokerRefusedError   Kafka answered, and refused our credentials or certificate
      InputError             a file, argument or body is not what it claims to be
        BodyTooLargeError    larger than any gateway sends
      NotFoundError          the named thing does not exist
      GuardError             stopped by a guard: not confirmed, protected, over the cap
      LockedError            somebody else holds the lock
      UnavailableError       a dependency cannot be reached; trying again is safe
        DatabaseUnavailableError
        BrokerUnavailableError

Errors know nothing of exit codes or HTTP: each door has one table for that.
A message says what failed and on what; ``hint`` says what to do next. Neither ever holds a key,
a MAC, a password or an account number.
"""

from __future__ import annotations

from typing import ClassVar


class PayctlError(Exception):
    """The root: everything payctl raises on purpose."""

    code: ClassVar[str] = "INTERNAL"
    retryable: ClassVar[bool] = False
    advice: ClassVar[str] = "run it again with -vv and report what that prints"
    """What to do where nothing better is known: the hint of an error that was raised without one."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint or self.advice


class ConfigError(PayctlError):
    """A setting is missing or wrong. The message names the variable, never its value."""

    code = "CONFIG"
    advice = "payctl config validate"


class BrokerRefusedError(ConfigError):
    """Kafka answered, and refused our credentials or our trust in its certificate."""

    code = "KAFKA_REFUSED"
    advice = "check KAFKA_SASL_MECHANISM, KAFKA_USERNAME, KAFKA_PASSWORD, KAFKA_SSL and KAFKA_CA_FILE"


class InputError(PayctlError):
    """A file, an argument or a body is not what it claims to be. Nothing was changed."""

    code = "INPUT"
    advice = "look at the file or the argument that the message names; --help has what is accepted"


class BodyTooLargeError(InputError):
    """A request's body or query is larger than ``MAX_BODY_BYTES``. It was not read."""

    code = "BODY_TOO_LARGE"
    advice = "give the callback alone, as the gateway sent it: none sends as much"


class NotFoundError(PayctlError):
    """The thing that was named does not exist."""

    code = "NOT_FOUND"
    advice = "check the name; the list command shows what there is"


class GuardError(PayctlError):
    """A guard stopped the command before it changed anything."""

    code = "GUARD"
    advice = "look with -n first; then --yes, and what the profile asks for beside it"


class LockedError(PayctlError):
    """Somebody else holds the lock that this job needs."""

    code = "LOCKED"
    advice = "wait until the other one has finished, then try again; payctl doctor --only publishers names it"
    retryable = True


class UnavailableError(PayctlError):
    """A dependency cannot be reached. Nothing is half done, trying again is safe."""

    code = "UNAVAILABLE"
    advice = "try again later; payctl doctor says what is away"
    retryable = True


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL cannot be reached, refused us, or went away in the middle."""

    code = "DATABASE_UNAVAILABLE"
    advice = "check that the server is up and reachable, then try again; payctl doctor --only database"


class BrokerUnavailableError(UnavailableError):
    """Kafka cannot be reached, or did not acknowledge in time."""

    code = "KAFKA_UNAVAILABLE"
    advice = "check that the brokers are up and reachable, then try again; payctl doctor --only kafka"
