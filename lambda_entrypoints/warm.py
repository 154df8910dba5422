"""Keep connections, secrets, and the times of recent alerts and warnings, between invocations."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

from ticketbottle_payctl.aws.alerts import AlertTopic
from ticketbottle_payctl.aws.secrets import SecretEnvironment
from ticketbottle_payctl.aws.xray import tracer_of
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.logs import LEVELS, setup_logging
from ticketbottle_payctl.metrics import Function
from ticketbottle_payctl.wiring import Services

T = TypeVar("T")

_DAY = 86_400.0

_OF_EACH_INVOCATION = {"_X_AMZN_TRACE_ID"}
_kept: dict[Function, Warm] = {}


class Warm:
    """The objects that are kept between invocations. ``cold`` is True until the first invocation starts."""

    def __init__(self, environ: Mapping[str, str], function: Function, *, cold: bool) -> None:
        self.given = environ
        self.application = f"payctl {function.value.replace('_', '-')}"
        self.cold = cold
        self.environ = SecretEnvironment(environ)
        self.env = environ.get("ENVIRONMENT") or "dev"
        self.topic = AlertTopic(environ.get("PAYCTL_ALERTS_TOPIC_ARN") or None, env=self.env)
        self.tracer = tracer_of(environ)
        self._said: dict[str, float] = {}
        self._services: Services | None = None
        self._made_from: dict[str, str | None] = {}

    def services(self, *names: str) -> Services:
        """Return the engine and the keys. Create both again if the value of a variable in ``names`` has changed.

        The values of these variables can come from Secrets Manager.

        Raises:
            ConfigError: the function is not allowed to read a secret, or the secret does not exist.
            UnavailableError: Secrets Manager is unavailable and no earlier value is known.
        """
        found = {name: self.environ.get(name) for name in names}
        if self._services is None or found != self._made_from:
            self.close()
            self._services, self._made_from = Services(self.environ, application=self.application), found
        return self._services

    def attempt(self, job: Callable[[Services], T], *names: str) -> T:
        """Run the job. If the job fails because of a setting, and a secret in ``names`` has changed, run it again."""
        try:
            return job(self.services(*names))
        except ConfigError:
            if not self.environ.renew(names):
                raise
            return job(self.services(*names))

    def once_a_day(self, name: str) -> bool:
        """Return True for each ``name`` at most once in 24 hours.

        Each execution environment has its own memory, so several environments may return True on the same day.
        """
        now = time.time()  # not the monotonic clock, which may stop while Lambda freezes the environment
        due = now - self._said.get(name, -_DAY) >= _DAY
        if due:
            self._said[name] = now
        return due

    def close(self) -> None:
        """Close all connections."""
        services, self._services = self._services, None
        if services is not None:
            services.close()


def kept(function: Function) -> Warm:
    """Return the objects from the last invocation.

    If the environment variables have changed, create the objects again.
    """
    environ = {name: value for name, value in os.environ.items() if name not in _OF_EACH_INVOCATION}
    last = _kept.get(function)
    if last is not None and last.given == environ:
        return last
    fresh = _kept[function] = Warm(environ, function, cold=last is None)
    level = environ.get("LOG_LEVEL", "").lower()
    setup_logging(level if level in LEVELS else "info", service="payctl", env=fresh.env, function=function.value)
    if last is not None:
        last.close()
    return fresh
