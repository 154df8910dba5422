"""Configure the broker as a single node in KRaft mode, with optional listeners for TLS and SASL.

The setting names are documented at https://kafka.apache.org/documentation/#brokerconfigs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from ticketbottle_payctl.sandbox.server import free_port

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.servers.certificates import Certificates

USERNAME: Final = "payctl"
SCRAM: Final = ("SCRAM-SHA-256", "SCRAM-SHA-512")

_SECURITY: Final = "org.apache.kafka.common.security"
_PROTOCOLS: Final = "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL,TLS:SSL"

_SINGLE_NODE: Final = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": _PROTOCOLS,
    "num.partitions": "3",
    # The internal topics default to three replicas, which one node cannot provide.
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "group.initial.rebalance.delay.ms": "0",
    # After a crash, the controller refuses the broker until its old session ends, by default after 9 seconds.
    "broker.session.timeout.ms": "2000",
    "broker.heartbeat.interval.ms": "500",
}


@dataclass(frozen=True, slots=True)
class Ports:
    """The node's ports. The ports stay the same after a restart."""

    plain: int = field(default_factory=free_port)
    controller: int = field(default_factory=free_port)
    secure: int = field(default_factory=free_port)
    tls: int = field(default_factory=free_port)
    proxied: int = field(default_factory=free_port)
    proxy: int = field(default_factory=free_port)


def broker_properties(ports: Ports, data: Path) -> dict[str, str]:
    """Return the server.properties of a node with a plain listener."""
    listeners = _listeners(PLAINTEXT=ports.plain, CONTROLLER=ports.controller)
    return {
        **_SINGLE_NODE,
        "controller.quorum.bootstrap.servers": f"127.0.0.1:{ports.controller}",
        "listeners": listeners,
        "advertised.listeners": listeners,
        "log.dirs": str(data),
    }


def secure_properties(ports: Ports, certificates: Certificates, password: str) -> dict[str, str]:
    """Return the additional settings for TLS and SASL. PLAIN and both SCRAM mechanisms accept the same user."""
    listeners = _listeners(PLAINTEXT=ports.plain, CONTROLLER=ports.controller, SECURE=ports.secure, TLS=ports.tls)
    plain = f'{_SECURITY}.plain.PlainLoginModule required user_{USERNAME}="{password}";'
    scram = f"{_SECURITY}.scram.ScramLoginModule required;"
    return {
        "listeners": listeners,
        "advertised.listeners": listeners,
        "sasl.enabled.mechanisms": ",".join(("PLAIN", *SCRAM)),
        "listener.name.secure.plain.sasl.jaas.config": plain,
        **{f"listener.name.secure.{mechanism.lower()}.sasl.jaas.config": scram for mechanism in SCRAM},
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(certificates.ca),
    }


def proxied_properties(ports: Ports, values: Mapping[str, str]) -> dict[str, str]:
    """Return the listener settings with an additional plain listener that sends its clients to the proxy's port."""
    return {
        "listeners": f"{values['listeners']},{_listeners(PROXIED=ports.proxied)}",
        "advertised.listeners": f"{values['advertised.listeners']},{_listeners(PROXIED=ports.proxy)}",
    }


def _listeners(**ports: int) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
