"""Test docker-compose.yml by reading the file, without starting a container."""

from __future__ import annotations

import re

import pytest
import yaml

LOOPBACK = re.compile(r"127\.0\.0\.1:\d+:\d+")


@pytest.fixture(scope="module")
def services(root):
    """Return the docker-compose services by name."""
    return yaml.safe_load((root / "docker-compose.yml").read_text("utf-8"))["services"]


def test_compose_publishes_ports_on_loopback_only(services):
    """Databases and brokers in docker-compose have public passwords, so they are reachable only from this machine."""
    published = {name: [str(port) for port in service.get("ports", [])] for name, service in services.items()}
    assert published["postgres"]
    assert published["kafka"]
    assert [port for ports in published.values() for port in ports if not LOOPBACK.fullmatch(port)] == []
    assert [name for name, service in services.items() if "network_mode" in service] == []


def test_compose_pins_its_images(services):
    """Every image that is downloaded has a fixed version. PostgreSQL has the same major version as in production."""
    fetched = [service["image"] for service in services.values() if "build" not in service]
    assert [image for image in fetched if not re.search(r":\d+\.\d+", image)] == []
    assert services["postgres"]["image"].startswith("postgres:15.")


def test_the_compose_publisher_writes_the_image_s_health_file(services, root):
    """The publisher in docker-compose writes the health file that the image's health check reads."""
    command = services["publisher"]["command"]
    alive = command[command.index("--health-file") + 1]
    assert f"find {alive} " in re.search(r"^HEALTHCHECK.*\n.*$", (root / "Dockerfile").read_text(), re.MULTILINE)[0]


def test_compose_creates_the_topics_of_the_events(services):
    """docker-compose creates exactly the topics that payctl publishes to."""
    created = re.search(r"for topic in ([a-z. ]+); do", services["topics"]["command"][0])[1].split()
    assert sorted(created) == ["payment.cancelled", "payment.completed", "payment.failed"]


def test_base_images_have_a_patch_release_and_the_page_says_how_to_pin_their_digest(root):
    """Each base image's tag names a patch release. docs/how-to/container.md shows how to pin the image's digest."""
    text = (root / "Dockerfile").read_text("utf-8")
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    bases = {arguments[found] for found in re.findall(r"^FROM \$\{(\w+)\}", text, re.MULTILINE)}
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == len(re.findall(r"^FROM \$\{", text, re.MULTILINE)) > 0
    page = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    for image in bases:
        assert re.search(r":\d+\.\d+\.\d+", image)
        assert f"imagetools inspect {image} " in page
        assert f"--build-arg PYTHON_IMAGE={image}@sha256:" in page
