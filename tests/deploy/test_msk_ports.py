"""Test that `make deploy` refuses a broker of Amazon MSK if its port belongs to another login."""

from __future__ import annotations

import pytest

from deploy.msk import contradictions

MSK, SERVERLESS = (
    "b-1.shop.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com",
    "boot-a1b2c3.c1.kafka-serverless.ap-southeast-1.amazonaws.com",
)
SECRET = "KafkaSecretArn=arn:aws:secretsmanager:ap-southeast-1:444455556666:secret:AmazonMSK_payctl-AbCdEf"
LOGINS = {
    "plaintext": ("KafkaAuth=none", "KafkaSsl=false"),
    "tls": ("KafkaAuth=none",),
    "scram": ("KafkaAuth=scram-sha-512", SECRET),
    "iam": ("KafkaAuth=aws-iam",),
}
PORTS = {
    "plaintext": {9092, 20092},
    "tls": {9094, 9194, 20094},
    "scram": {9096, 9196, 20096},
    "iam": {9098, 9198, 20098},
}
"""The ports of each login: https://docs.aws.amazon.com/msk/latest/developerguide/port-info.html."""

SAID = {
    "plaintext": "9092",
    "tls": "9094, or 9194 for public access",
    "scram": "9096, or 9196 for public access",
    "iam": "9098, or 9198 for public access",
}
ALL = sorted(set().union(*PORTS.values()))


def found(login, *brokers):
    """Return what the check says about a login and these brokers."""
    entries = dict(entry.split("=", 1) for entry in LOGINS[login])
    return [*contradictions({"KafkaSsl": "true", "KafkaBrokers": ",".join(brokers)} | entries)]


@pytest.mark.parametrize("port", [*ALL, 2181, 2182, 9095])
@pytest.mark.parametrize("login", LOGINS)
def test_a_port_of_msk_must_match_the_login(login, port):
    """The check accepts only the ports that belong to the login. For any other port, the check names the right port."""
    said = found(login, f"{MSK}:{port}")
    if port in PORTS[login]:
        assert said == []
    else:
        (sentence,) = said
        assert sentence.startswith(f"KafkaBrokers has port {port}, but for ")
        assert sentence.endswith(f"Amazon MSK uses port {SAID[login]}: change KafkaBrokers and KafkaPort")


@pytest.mark.parametrize(
    ("login", "broker"),
    [
        ("scram", "kafka.shop.vn:9092"),
        ("scram", f"{MSK.replace('kafka.', 'broker.')}:9092"),
        ("scram", f"{MSK}.shop.vn:9092"),
        ("iam", "ec2-1-2-3-4.ap-southeast-1.compute.amazonaws.com:9092"),
        ("iam", "vpce-1.vpce-svc-2.ap-southeast-1.vpce.amazonaws.com:9092"),
        ("iam", f"{MSK}:14001"),
        ("iam", f"{SERVERLESS}:9098"),
    ],
)
def test_other_brokers_can_have_any_port(login, broker):
    """The check accepts every port of brokers that are not MSK's own, and MSK's ports for other VPCs."""
    assert found(login, broker) == []


def test_each_wrong_port_is_named_once():
    """The check names a wrong port once, even if several brokers have it."""
    assert len(found("iam", f"{MSK}:9094", f"{MSK.replace('b-1', 'b-2')}:9094", f"{MSK}:9098")) == 1


@pytest.mark.parametrize(
    ("broker", "entries", "words"),
    [
        (f"{MSK}:9092", LOGINS["iam"], "has port 9092, but for aws-iam Amazon MSK uses port 9098, or 9198 for public"),
        (f"{MSK}:9096", ("KafkaAuth=plain",), "KafkaAuth is plain, but Amazon MSK accepts only aws-iam, scram-sha-512"),
        (f"{MSK}:9096", ("KafkaAuth=scram-sha-256",), "KafkaAuth is scram-sha-256, but Amazon MSK accepts only"),
        (
            f"{MSK}:9096",
            ("KafkaAuth=scram-sha-512", "KafkaSsl=false"),
            "KafkaSsl is false, but Amazon MSK accepts scram-sha-512 only with TLS",
        ),
        (f"{SERVERLESS}:9098", LOGINS["scram"], "KafkaAuth is scram-sha-512, but MSK Serverless accepts only aws-iam"),
    ],
)
def test_a_login_that_msk_does_not_have_is_not_deployed(checkout, broker, entries, words):
    """`make deploy` refuses a port or a login that Amazon MSK does not have."""
    checkout.name_real_resources()
    port = broker.rpartition(":")[2]
    checkout.configure("dev", SECRET, *entries, f"KafkaBrokers={broker}", f"KafkaPort={port}")
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
