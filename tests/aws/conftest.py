"""Provide AWS services on loopback with a moto server, which runs in its own environment (``make functions``)."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import botocore.session
import pytest

from tests.conftest import IN_CI
from ticketbottle_payctl.sandbox.server import Server, free_port

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-moto/bin/python"
REGION = "ap-southeast-1"


@cache
def _client(service, url):
    """Return a cached AWS client, because creating a new client takes time to read the service's description."""
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
    return botocore.session.Session().create_client(service, region_name=REGION, endpoint_url=url, **keys)


@dataclass
class Cloud:
    """A moto server, and the variables that make payctl use it."""

    url: str

    @property
    def environ(self):
        """The environment variables that make a function use this moto server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }

    def client(self, service):
        """Return a client for an AWS service."""
        return _client(service, self.url)

    def secret(self, value, name="payctl/test"):
        """Create or update a secret. Return its ARN."""
        client, text = self.client("secretsmanager"), value if isinstance(value, str) else json.dumps(value)
        try:
            return client.put_secret_value(SecretId=name, SecretString=text)["ARN"]
        except client.exceptions.ResourceNotFoundException:
            return client.create_secret(Name=name, SecretString=text)["ARN"]

    def queue(self, name="dead-events"):
        """Create a queue and return its URL."""
        return self.client("sqs").create_queue(QueueName=name)["QueueUrl"]

    def messages(self, queue):
        """Receive and delete all messages in a queue, and return their bodies."""
        client, found = self.client("sqs"), []
        while batch := client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
            found += [json.loads(message["Body"]) for message in batch]
            for message in batch:
                client.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def topic(self):
        """Create a topic and a queue that receives the topic's messages. Return the topic's ARN and the queue's URL."""
        queue = self.queue("alerts")
        arn = self.client("sns").create_topic(Name="alerts")["TopicArn"]
        endpoint = f"arn:aws:sqs:{REGION}:123456789012:alerts"
        self.client("sns").subscribe(TopicArn=arn, Protocol="sqs", Endpoint=endpoint)
        return arn, queue

    def reset(self):
        """Delete everything on the server."""
        request = urllib.request.Request(f"{self.url}/moto-api/reset", method="POST")  # noqa: S310 - our own server
        urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


@pytest.fixture(scope="session")
def cloud_server():
    """Yield moto's server, which starts once for the whole test run."""
    if not PYTHON.exists():
        (pytest.fail if IN_CI else pytest.skip)("the environment of moto is missing: run `make functions`")
    port, server = free_port(), Server("moto")
    url = f"http://127.0.0.1:{port}"
    server.run([str(PYTHON), "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)])

    def answers():
        try:
            urllib.request.urlopen(f"{url}/moto-api/data.json", timeout=5).close()  # noqa: S310 - our own server
        except OSError:
            return False
        return True

    server.wait_until(answers, what="moto's server answers", timeout=60)
    yield Cloud(url)
    server.close()


@pytest.fixture
def cloud(cloud_server, monkeypatch):
    """Return an empty moto server. This process's environment variables point to the server."""
    cloud_server.reset()
    for name, value in cloud_server.environ.items():
        monkeypatch.setenv(name, value)
    return cloud_server


class Clock:
    """A clock that the test sets, in seconds."""

    def __init__(self):
        self.now = 1_000_000.0

    def __call__(self):
        """Return the time that the test set."""
        return self.now


@pytest.fixture
def clock():
    """Return a clock that the test sets."""
    return Clock()
