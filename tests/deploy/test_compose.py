"""The local world of docker-compose.yml, read and not started: no container engine is needed."""

from __future__ import annotations

import re

import pytest
import yaml

LOOPBACK = re.compile(r"127\.0\.0\.1:\d+:\d+")


@pytest.fixture(scope="module")
def services(root):
    """The services by name."""
    return yaml.safe_load((root / "docker-compose.yml").read_text("utf-8"))["services"]


def test_only_loopback_is_published(services):
    """Databases and brokers with public passwords are reachable from this machine alone."""
    published = {name: [str(port) for port in service.get("ports", [])] for name, service in services.items()}
    assert published["postgres"]
    assert published["kafka"]
    assert [port for ports in published.values() for port in ports if not LOOPBACK.fullmatch(port)] == []
    assert [name for name, service in services.items() if "network_mode" in service] == []


def test_versions_are_pinned_and_are_productions(services):
    """Every image that is fetched has a version, PostgreSQL's is the payment service's major one."""
    fetched = [service["image"] for service in services.values() if "build" not in service]
    assert [image for image in fetched if not re.search(r":\d+\.\d+", image)] == []
    assert services["postgres"]["image"].startswith("postgres:15.")


def test_the_publisher_shows_the_sign_of_life_that_the_image_looks_for(services, root):
    """The file that the publisher writes is the one in the image's health check."""
    command = services["publisher"]["command"]
    alive = command[command.index("--health-file") + 1]
    assert f"find {alive} " in re.search(r"^HEALTHCHECK.*\n.*$", (root / "Dockerfile").read_text(), re.MULTILINE)[0]


def test_the_topics_are_those_of_the_events(services):
    """What is created at the start is what the outbox is published to."""
    created = re.search(r"for topic in ([a-z. ]+); do", services["topics"]["command"][0])[1].split()
    assert sorted(created) == ["payment.cancelled", "payment.completed", "payment.failed"]


def test_base_images_have_a_patch_release_and_the_page_says_how_to_pin_their_digest(root):
    """The image in the page's commands is the one in the Dockerfile, with the option that the Dockerfile takes."""
    text = (root / "Dockerfile").read_text("utf-8")
    arguments = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    bases = {arguments[found] for found in re.findall(r"^FROM \$\{(\w+)\}", text, re.MULTILINE)}
    assert len(re.findall(r"^FROM ", text, re.MULTILINE)) == len(re.findall(r"^FROM \$\{", text, re.MULTILINE)) > 0
    page = (root / "docs" / "deploy.md").read_text("utf-8")
    for image in bases:
        assert re.search(r":\d+\.\d+\.\d+", image)
        assert f"imagetools inspect {image} " in page
        assert f"--build-arg PYTHON_IMAGE={image}@sha256:" in page
