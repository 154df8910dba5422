"""Check that the brokers can be reached, accept the credentials, and have payctl's topics."""

from __future__ import annotations

from dataclasses import replace

from ticketbottle_payctl.broker import topics
from ticketbottle_payctl.broker.producer import DeliveryFailure
from ticketbottle_payctl.domain.causes import Brokers
from ticketbottle_payctl.domain.event import TOPICS
from ticketbottle_payctl.errors import BrokerRefusedError, BrokerUnavailableError, ConfigError, PayctlError
from ticketbottle_payctl.jobs.doctor.model import Finding, Subject, fail, ok, warn
from ticketbottle_payctl.settings import KafkaSettings

_PATIENCE = 5.0


class Probe:
    """A probe of the brokers that works like the publisher's probe.

    The probe runs once, and all checks share the result.
    """

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._answer: dict[str, DeliveryFailure] | PayctlError | None = None

    def stopped_types(self) -> dict[str, DeliveryFailure]:
        """Return the event types that cannot be sent, each with the reason.

        Raises:
            ConfigError: Kafka is not configured.
            BrokerRefusedError: a broker refused the credentials or the TLS connection.
            BrokerUnavailableError: no broker answered.
        """
        if self._answer is None:
            try:
                self._answer = self._subject.producer().probe(_PATIENCE)
            except PayctlError as error:
                self._answer = error
        if isinstance(self._answer, PayctlError):
            raise self._answer
        return self._answer

    def brokers(self) -> Brokers:
        """Return the answer of the brokers as evidence for the causes of waiting events."""
        try:
            refused = self.stopped_types()
        except (BrokerUnavailableError, BrokerRefusedError) as error:
            return Brokers(unavailable=error.message)
        except ConfigError as error:
            return Brokers(not_asked=error.message)
        return Brokers(stopped={event_type: failure.reason for event_type, failure in refused.items()})


def check(subject: Subject, probe: Probe) -> list[Finding]:
    """Probe the brokers in the same way as the publisher, then check each topic.

    Raises:
        ConfigError: Kafka is not configured.
    """
    try:
        return _look(subject.kafka(), probe)
    except (BrokerRefusedError, BrokerUnavailableError) as error:
        found = fail("kafka", error.message, "no event can be published until this is fixed", error.hint)
        return [replace(found, stops_all=True)]


def _look(settings: KafkaSettings, probe: Probe) -> list[Finding]:
    refused = probe.stopped_types()
    if len(refused) == len(TOPICS) and all(one.code == "UNKNOWN_TOPIC_OR_PART" for one in refused.values()):
        absent = ", ".join(dict.fromkeys(TOPICS.values()))
        meaning = "nothing can be published; KAFKA_BROKERS may name another cluster"
        return [
            fail("kafka", f"{settings.brokers} has none of {absent}", meaning, "create them, or check KAFKA_BROKERS")
        ]
    cluster = topics.describe(settings, _PATIENCE)
    about = ok("kafka", f"{settings.brokers} answers, {cluster.brokers} broker{'s' if cluster.brokers != 1 else ''}")
    return [about, *(_topic(one, cluster.brokers) for one in cluster.topics)]


def _topic(topic: topics.Topic, brokers: int) -> Finding:
    events = " and ".join(kind for kind, name in TOPICS.items() if name == topic.name)
    if topic.problem is not None or not topic.partitions:
        why = topic.problem or "the topic has no partitions"
        remedy = f"create the topic, or grant Write and Describe on it: kafka-topics.sh --create --topic {topic.name}"
        return fail("kafka", f"topic {topic.name}: {why}", f"{events} events cannot be published and must wait", remedy)
    about = f"topic {topic.name}: {topic.partitions} partition{'s' if topic.partitions != 1 else ''}"
    about += f", {topic.replicas} replica{'s' if topic.replicas != 1 else ''}"
    if topic.leaderless:
        meaning = f"{events} of some payments cannot be published until the brokers elect a leader"
        return fail(
            "kafka", f"{about}, {topic.leaderless} without a leader", meaning, "restart the brokers that are down"
        )
    if topic.lagging:
        meaning = "if one more broker fails, every message may be refused because of acks=all"
        return warn("kafka", f"{about}, {topic.lagging} with lagging replicas", meaning, "check the brokers")
    if topic.replicas == 1 and brokers > 1:
        meaning = "if one broker is lost, acknowledged events are lost too"
        return warn("kafka", about, meaning, f"give {topic.name} three replicas and min.insync.replicas=2")
    if topic.partitions == 1:
        meaning = (
            "only one consumer can read the topic at a time; adding partitions later moves payments to other partitions"
        )
        return warn("kafka", about, meaning, "choose the number of partitions while the topic is still empty")
    return ok("kafka", about)
