"""A publisher process that kills or freezes itself at a chosen point, or runs until a test kills it."""

from __future__ import annotations

import os
import signal
from threading import Event

from confluent_kafka import Producer as Client

from ticketbottle_payctl.broker.config import producer_config
from ticketbottle_payctl.broker.producer import Producer
from ticketbottle_payctl.jobs.publish_outbox import Observer, PublishOptions, publish_outbox, shard
from ticketbottle_payctl.jobs.publish_outbox.pipeline import ClaimPipeline, OpenBatch
from ticketbottle_payctl.secret import Secret
from ticketbottle_payctl.settings import DatabaseSettings, KafkaSettings
from ticketbottle_payctl.store.db.engine import make_engine

POINTS = ("fetched", "claimed", "produced", "acknowledged", "before_commit", "after_commit")


class Fuse:
    """A switch that kills or freezes this process when the process reaches a given point for the n-th time."""

    def __init__(self, point, number, signal_number):
        self.point, self.left, self.signal_number = point, number, signal_number

    def at(self, point):
        """Record that the process has reached this point.

        Kill or freeze the process if it has done so the chosen number of times.
        """
        if point == self.point:
            self.left -= 1
            if self.left == 0:
                os.kill(os.getpid(), self.signal_number)


def run(url, bootstrap, options, *, point=None, number=1, ready=None, freeze=False):
    """Publish until the fuse kills or freezes the process.

    ``ready`` is a connection that receives a message as soon as the publisher is ready.
    """
    fuse = Fuse(point, number, signal.SIGSTOP if freeze else signal.SIGKILL)
    if freeze:
        shard.SEND_WITHIN = 0.5

    class Fused(Producer):
        def send(self, wave, *arguments):
            fuse.at("claimed")
            failures = super().send(wave, *arguments)
            fuse.at("acknowledged")
            return failures

    class FusedClient(Client):
        def flush(self, *arguments):
            fuse.at("produced")
            return super().flush(*arguments)

    commit, claim = OpenBatch.commit, ClaimPipeline._claim  # noqa: SLF001 - on the thread that claims

    def fused_commit(self, released):
        fuse.at("before_commit")
        commit(self, released)
        fuse.at("after_commit")

    def fused_claim(self, *arguments, **named):
        claimed = claim(self, *arguments, **named)
        fuse.at("fetched")
        return claimed

    OpenBatch.commit, ClaimPipeline._claim = fused_commit, fused_claim  # noqa: SLF001
    engine = make_engine(DatabaseSettings(Secret(url)))
    producer = Fused(producer_config(KafkaSettings(bootstrap)), new_client=FusedClient)
    tell = (lambda: ready.send("ready")) if ready else (lambda: None)
    publish_outbox(engine, producer, PublishOptions(**options), stop=Event(), observer=Observer(on_ready=tell))
    producer.close()
    engine.dispose()
