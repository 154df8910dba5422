"""Sample the processes that run during the whole soak."""

from __future__ import annotations

from contextlib import suppress
from threading import Event, Thread

from sqlalchemy.exc import DBAPIError

from tests.checker.growth import Sample, growth, sample
from tests.soak.world import World

SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'payctl %%'"


class Sampler(Thread):
    """A thread that samples the first publisher, the first webhook process, and the number of database sessions."""

    def __init__(self, world: World, every: float) -> None:
        super().__init__(daemon=True)
        self.world, self.every = world, every
        self.stop = Event()
        self.samples: dict[str, list[Sample]] = {"publisher": [], "webhook": []}
        self.most_sessions = 0

    def run(self) -> None:
        """Take samples until ``stop`` is set."""
        while not self.stop.wait(self.every):
            servers = {"publisher": self.world.publishers[0], "webhook": self.world.webhooks[0].server}
            for name, server in servers.items():
                found = sample(server.pid) if server.pid else None
                if found is not None:
                    self.samples[name].append(found)
            with suppress(DBAPIError), self.world.engine.connect() as connection:
                sessions = connection.exec_driver_sql(SESSIONS).scalar_one()
                self.most_sessions = max(self.most_sessions, sessions)

    def grown(self) -> dict[str, dict[str, str]]:
        """Return the values that have grown, for each process."""
        found = {name: growth(samples) for name, samples in self.samples.items()}
        return {name: grown for name, grown in found.items() if grown}

    def last(self) -> dict[str, dict[str, float]]:
        """Return each process's last sample."""
        return {
            name: {field: round(value, 1) for field, value in samples[-1]._asdict().items()}
            for name, samples in self.samples.items()
            if samples
        }
