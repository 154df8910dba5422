"""Provide the stack as CloudFormation receives it, and the stack's generator.

The tests in this folder do not call AWS.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.sources import record
from tests.deploy.checkout import FORKS, Checkout

ROOT = Path(__file__).parents[2]
OUTSIDE = ("ProbeFunction", "BeforeTrafficFunction")
FUNCTIONS = (
    *("WebhookFunction", "PublishOutboxFunction", "CleanupFunction", "WatchPaymentsFunction"),
    *("ReconcilePaymentsFunction", *OUTSIDE),
)
INSIDE = tuple(name for name in FUNCTIONS if name not in OUTSIDE)
"""The names of the functions that run in the VPC. These functions use a database and secrets."""


def missing(reason):
    """Skip the test on a developer's machine, or fail the test in CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def root():
    """Return the project's directory."""
    return ROOT


@pytest.fixture(scope="session")
def template():
    """Return the generated template."""
    return json.loads((ROOT / "deploy" / "cloudformation.json").read_text("utf-8"))


@pytest.fixture(scope="session")
def of_type(template):
    """Return a function that returns the properties of all resources of a type, such as SQS::Queue, by logical id."""

    def find(name):
        return {
            logical: resource["Properties"]
            for logical, resource in template["Resources"].items()
            if resource["Type"] == f"AWS::{name}"
        }

    return find


@pytest.fixture(scope="session")
def functions(of_type):
    """Return the properties of all functions by logical id."""
    found = of_type("Lambda::Function")
    assert sorted(found) == sorted(FUNCTIONS)
    return found


@pytest.fixture(scope="session")
def inside(functions):
    """Return the properties of the functions in the VPC by logical id."""
    return {name: functions[name] for name in INSIDE}


@pytest.fixture(scope="session")
def statements(of_type):
    """Return each statement in a role's policies as ``(logical id, statement)``. Include conditional statements."""
    found = []
    for logical, role in of_type("IAM::Role").items():
        for policy in role.get("Policies", []):
            found += [(logical, each) for each in policy["PolicyDocument"]["Statement"]]
    for logical, policy in (of_type("IAM::ManagedPolicy") | of_type("IAM::Policy")).items():
        found += [(logical, each) for each in policy["PolicyDocument"]["Statement"]]
    return [(logical, each["Fn::If"][1] if "Fn::If" in each else each) for logical, each in found]


@pytest.fixture(scope="session")
def tools():
    """Return the Python interpreter from the environment that contains AWS's SAM transform."""
    python = ROOT / ".venv-aws" / "bin" / "python"
    if not python.exists():
        missing("the template's tools are not installed: make template")
    return python


@pytest.fixture(scope="session")
def generate(tools):
    """Return a function that runs the generator with the Python interpreter for the template tools."""

    def run(*arguments, **environ):
        command = [str(tools), "-m", "deploy.generate", *arguments]
        env = {"PATH": os.environ["PATH"], **environ}
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def sbom_python():
    """Return the Python interpreter from the environment that contains the SBOM tool."""
    python = ROOT / ".venv-sbom" / "bin" / "python"
    if not python.exists():
        missing("the SBOM's tool is not installed: make sbom")
    return str(python)


@pytest.fixture(scope="session")
def make_sbom(sbom_python):
    """Return a function that writes an SBOM. A failure or a warning fails the test."""

    def run(*arguments):
        command = [sbom_python, "-m", "deploy.sbom", *arguments]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")

    return run


@pytest.fixture(scope="session")
def values():
    """Return a function that returns every string in a nested structure."""

    def walk(node):
        if isinstance(node, dict):
            node = [*node, *node.values()]
        if isinstance(node, list):
            return [text for each in node for text in walk(each)]
        return [node] if isinstance(node, str) else []

    return walk


@pytest.fixture(scope="session")
def forks(tools, tmp_path_factory):
    """Yield a process that runs the script once for each input line. The process loads AWS's slow library only once."""
    command, pipe, place = [str(tools), "-c", FORKS], subprocess.PIPE, tmp_path_factory.mktemp("forks")
    with subprocess.Popen(command, cwd=place, env={}, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


@pytest.fixture(scope="session")
def whole_sources(root, tmp_path_factory):
    """Return a copy of the deployment files and the record of a build from them.

    The copy does not change if a developer edits the clone during the tests.
    """
    copy = tmp_path_factory.mktemp("sources")
    for folder in ("deploy", "ticketbottle_payctl", "lambda_entrypoints", "locks"):
        shutil.copytree(root / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__", "cli"))
    return copy, recorded(copy)


@pytest.fixture(scope="session")
def small_sources(whole_sources, tmp_path_factory):
    """Return a copy with one small entrypoint, and the record of a build. Hashing all modules would be slow."""
    whole, _ = whole_sources
    copy = tmp_path_factory.mktemp("small")
    for folder in ("deploy", "locks"):
        shutil.copytree(whole / folder, copy / folder)
    (copy / "ticketbottle_payctl").symlink_to(whole / "ticketbottle_payctl")
    (copy / "lambda_entrypoints").mkdir()
    (copy / "lambda_entrypoints" / "__init__.py").touch()
    return copy, recorded(copy)


def recorded(sources):
    """Return the record of a build with OpenTelemetry."""
    return record(sources, sources / "locks" / "otel.txt", ["SPANS=1"])


@pytest.fixture
def checkout(small_sources, tmp_path, forks):
    """Return a copy of the deployment files together with a build."""
    copy, made = small_sources
    shutil.copytree(copy, tmp_path, symlinks=True, dirs_exist_ok=True)
    return Checkout(tmp_path, forks, made)


@pytest.fixture
def whole_checkout(whole_sources, tmp_path, forks):
    """Return a copy of the deployment files and of all modules, together with a build."""
    copy, made = whole_sources
    shutil.copytree(copy, tmp_path, dirs_exist_ok=True)
    return Checkout(tmp_path, forks, made)
