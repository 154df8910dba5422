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
      DeadlineError          a deadline passed; what was done until then is saved
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

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class ConfigError(PayctlError):
    """A setting is missing or wrong. The message names the variable, never its value."""

    code = "CONFIG"


class BrokerRefusedError(ConfigError):
    """Kafka answered, and refused our credentials or our trust in its certificate."""

    code = "KAFKA_REFUSED"


class InputError(PayctlError):
    """A file, an argument or a body is not what it claims to be. Nothing was changed."""

    code = "INPUT"


class BodyTooLargeError(InputError):
    """A request's body or query is larger than ``MAX_BODY_BYTES``. It was not read."""

    code = "BODY_TOO_LARGE"


class NotFoundError(PayctlError):
    """The thing that was named does not exist."""

    code = "NOT_FOUND"


class GuardError(PayctlError):
    """A guard stopped the command before it changed anything."""

    code = "GUARD"


class LockedError(PayctlError):
    """Somebody else holds the lock that this job needs."""

    code = "LOCKED"
    retryable = True


class DeadlineError(PayctlError):
    """A deadline passed before the job was done; what was done is saved."""

    code = "DEADLINE"
    retryable = True


class UnavailableError(PayctlError):
    """A dependency cannot be reached. Nothing is half done, trying again is safe."""

    code = "UNAVAILABLE"
    retryable = True


class DatabaseUnavailableError(UnavailableError):
    """PostgreSQL cannot be reached, refused us, or went away in the middle."""

    code = "DATABASE_UNAVAILABLE"


class BrokerUnavailableError(UnavailableError):
    """Kafka cannot be reached, or did not acknowledge in time."""

    code = "KAFKA_UNAVAILABLE"
