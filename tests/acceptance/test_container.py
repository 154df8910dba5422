"""Build the container image without a container engine, and test its three uses.

The tests do not download anything from an image registry. Instead, debootstrap builds a Debian image with the base
image's name. The tests need root privileges, buildah and debootstrap. The base image is built once and cached.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.acceptance import debian_root
from ticketbottle_payctl.errors import ConfigError
from ticketbottle_payctl.sandbox.postgres_binaries import cache_home

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
BASE = re.search(r"^ARG PYTHON_IMAGE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
CERTIFICATES = "/etc/ssl/certs:/etc/ssl/certs:ro"
SETTINGS = {"STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot", "BUILDAH_FORMAT": "docker"}

IMAGE = f"payctl-test-{os.getpid()}"
"""The image's name. It differs between processes, because two workers can build an image at the same time."""

pytestmark = [pytest.mark.container, pytest.mark.timeout(900)]


class Buildah:
    """The buildah program with its own image storage."""

    def __init__(self, storage: Path) -> None:
        missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
        if missing or os.geteuid() != 0:
            message = f"no image can be built without {' and '.join(missing or ['root'])}"
            raise ConfigError(message, hint="apt-get install buildah debootstrap, and run as root")
        self._storage = ["--root", str(storage / "storage"), "--runroot", str(storage / "run")]

    def __str__(self) -> str:
        return "buildah"

    def start(self) -> Buildah:
        """Return this object. buildah does not need a background process."""
        return self

    def __call__(self, *words: str) -> str:
        """Run a buildah command and return its output. Fail the test if the command fails."""
        environ = {**os.environ, **SETTINGS}
        ran = subprocess.run(
            [str(self), *self._storage, *words], check=False, capture_output=True, text=True, env=environ, cwd=ROOT
        )
        assert ran.returncode == 0, f"buildah {words[0]}: {ran.stderr[-2000:]}"
        return ran.stdout.strip()

    def run(self, container: str, *words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Run a command in a container. Return the completed process, regardless of its exit code."""
        variables = [f"--env={name}={value}" for name, value in (env or {}).items()]
        command = ["buildah", *self._storage, "run", *variables, container, "--", *words]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, env={**os.environ, **SETTINGS}, cwd="/"
        )


@pytest.fixture(scope="module")
def buildah(made) -> Buildah:
    """Return buildah with the base image in its storage."""
    tool = made(lambda: Buildah(cache_home() / "containers"))
    with (cache_home() / "containers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if BASE not in tool("images", "--format", "{{.Name}}:{{.Tag}}").replace("docker.io/library/", ""):
            make_base(tool, cache_home() / "containers" / "base")
    return tool


def make_base(tool: Buildah, base: Path) -> None:
    """Build a Debian image with Debian's Python, under the name of the Dockerfile's base image."""
    shutil.rmtree(base, ignore_errors=True)
    base.mkdir()
    debian_root.unpack(base, ["python3-venv"])
    (base / "usr/local/bin/python").symlink_to("/usr/bin/python3")
    container = tool("from", "scratch")
    tool("add", "-q", container, str(base), "/")
    tool("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
    tool("commit", "-q", "--rm", container, f"docker.io/library/{BASE}")
    shutil.rmtree(base)


@pytest.fixture(scope="module")
def container(buildah: Buildah):
    """Build the image from the Dockerfile, and yield the name of a container that uses it."""
    buildah("bud", "--pull-never", "--layers=false", "-t", IMAGE, "-v", CERTIFICATES, ".")
    name = buildah("from", "--pull-never", IMAGE)
    yield name
    buildah("rm", name)
    buildah("rmi", "--force", IMAGE)  # force, because a killed run might have left a container


def test_the_image_runs_the_command_line(buildah: Buildah, container: str):
    """``payctl verify-signature --example zalopay`` works in the container as an unprivileged user."""
    answer = buildah.run(container, "payctl", "verify-signature", "--example", "zalopay", "-o", "json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["result"]["valid"] is True
    assert buildah.run(container, "id", "-u").stdout.strip() == "10001"


def test_the_image_contains_bytecode(buildah: Buildah, container: str):
    """Every module of payctl has bytecode in the image, so Python compiles nothing at startup."""
    found = buildah.run(
        container, "sh", "-c", "cd /opt/payctl/lib/python3*/site-packages/ticketbottle_payctl && find . -name '*.py' | "
        "wc -l && find . -name '*.pyc' | wc -l"
    )  # fmt: skip
    sources, compiled = map(int, found.stdout.split())
    assert sources == compiled > 100


def test_the_image_has_a_list_of_its_packages(buildah: Buildah, container: str):
    """The image contains an SBOM and a list of licences.

    The SBOM lists payctl's packages with their locked versions.
    """
    place = "/opt/payctl/share/payctl"
    document = json.loads(buildah.run(container, "cat", f"{place}/sbom.cdx.json").stdout)
    licences = buildah.run(container, "cat", f"{place}/licences.txt").stdout
    found = {(each["name"].lower().replace("_", "-"), each["version"]) for each in document["components"]}
    pins = re.findall(r"^([a-z0-9._-]+)==(\S+)", (ROOT / "locks" / "cli.txt").read_text(), re.MULTILINE)
    assert {pin for pin in pins if pin[0] in {"typer", "sqlalchemy", "confluent-kafka", "httpx", "payos"}} <= found
    assert len(licences.splitlines()) == len(document["components"])
    assert "cyclonedx-bom" not in licences


def test_the_image_can_run_as_a_lambda_function(buildah: Buildah, container: str):
    """The image contains Lambda's runtime client, botocore and the three handlers, but not pip."""
    script = (
        "import awslambdaric, botocore.session, importlib.util as u;"
        "import lambda_entrypoints.webhook as w, lambda_entrypoints.publish_outbox as p;"
        "import lambda_entrypoints.cleanup as c;"
        "assert callable(w.handler) and callable(p.handler) and callable(c.handler);"
        "print(u.find_spec('pip'))"
    )
    answer = buildah.run(container, "/opt/payctl/bin/python", "-c", script, env={"AWS_REGION": "ap-southeast-1"})
    assert (answer.returncode, answer.stdout.strip()) == (0, "None"), answer.stderr


def test_the_health_check_detects_a_running_publisher(buildah: Buildah, container: str):
    """The image's health check fails if the health file is old or missing, and passes if the file is fresh."""
    settings = json.loads(buildah("inspect", "--type", "image", IMAGE))
    check = settings["Docker"]["config"]["Healthcheck"]["Test"]
    assert check[:3] == ["CMD", "sh", "-c"]
    assert buildah.run(container, *check[1:]).returncode == 1
    alive = buildah.run(container, "sh", "-c", f"touch /tmp/payctl-alive && {check[3]}")
    assert alive.returncode == 0, alive.stderr
