"""Define the base classes of the local services."""

from __future__ import annotations

import signal
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from ticketbottle_payctl.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from ticketbottle_payctl.sandbox.server import Server


class Service(ABC):
    """A local service that runs from :meth:`start` to :meth:`close`.

    The service can also be used in a ``with`` statement.
    """

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @abstractmethod
    def start(self) -> Self:
        """Start the service. Return when it is ready."""

    @abstractmethod
    def close(self) -> None:
        """Stop the service and remove its data. Closing twice is not an error."""


class OneServer(Service):
    """A service that is one server process. :meth:`start` sets ``_server``."""

    _ends_with: ClassVar[signal.Signals] = signal.SIGKILL
    _server: Server | None = None

    @property
    def running(self) -> bool:
        """Whether the process is running."""
        return self._server is not None and self._server.running

    @property
    def pid(self) -> int | None:
        """The id of the running process."""
        return self._server.pid if self._server is not None else None

    @property
    def log(self) -> Path:
        """The file with the process's whole output."""
        return self._started.log

    def close(self) -> None:
        """Kill the process and remove its data. Closing twice is not an error."""
        if self._server is not None:
            self._server.close(self._ends_with)
            self._server = None

    @property
    def _started(self) -> Server:
        if self._server is None:
            message = f"this {type(self).__name__} has not been started"
            raise UnavailableError(message)
        return self._server
