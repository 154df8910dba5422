"""Provide the stack as CloudFormation receives it, and the stack's generator.

The tests in this folder do not call AWS.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

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


FORKS = """
import json, os, runpy, sys
import samtranslator.translator.transform, samtranslator.yaml_helper
for line in sys.stdin:
    given = json.loads(line)
    child = os.fork()
    if not child:
        folder, written = os.open(given["cwd"], 0), os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        for number, name, how in ((0, "stdin", os.O_RDONLY), (1, "stdout", written), (2, "stderr", written)):
            os.dup2(os.open(name, how, dir_fd=folder), number)
        sys.stdin = os.fdopen(0)
        os.chdir(given["cwd"])
        os.environ.clear()
        os.environ.update(given["environ"])
        sys.argv = ["deploy.release", *given["arguments"]]
        runpy.run_module("deploy.release", run_name="__main__", alter_sys=True)
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(scope="session")
def forks(tools, tmp_path_factory):
    """Yield a process that runs the script once for each input line. The process loads AWS's slow library only once."""
    command, pipe, place = [str(tools), "-c", FORKS], subprocess.PIPE, tmp_path_factory.mktemp("forks")
    with subprocess.Popen(command, cwd=place, env={}, stdin=pipe, stdout=pipe, text=True, bufsize=1) as process:
        yield process
        process.stdin.close()


class Checkout:
    """A copy of the deployment files together with a build."""

    def __init__(self, folder, forks):
        self.folder, self.forks = folder, forks
        self.build(183)

    def build(self, machine, *files):
        """Write both zips. ``machine`` is the architecture's code in the ELF header of the library."""
        package = self.folder / "build" / "package"
        package.mkdir(parents=True, exist_ok=True)
        for name in ("code.zip", "dependencies.zip"):
            with zipfile.ZipFile(package / name, "w") as archive:
                archive.writestr("python/library.so", b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little"))
                for file in files:
                    archive.writestr(file, "")

    def edit(self, name, before, after):
        """Replace a string in a file."""
        path = self.folder / name
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after), "utf-8")

    def name_real_resources(self):
        """Replace every example in the configuration, as an operator does before the first deployment."""
        path = self.folder / "deploy" / "samconfig.toml"
        text = re.sub(r"subnet-example([ab])", r"subnet-0a1b2c3\1", path.read_text("utf-8"))
        text = re.sub(r"(vpc|sg)-example[a-z]*", r"\1-0a1b2c3d", text)
        path.write_text(text.replace("example", "shop").replace("111122223333", "444455556666"), "utf-8")

    def deploy(self, *arguments, environ=None, stdin=""):
        """Run the deployment script as `make deploy` does."""
        (self.folder / "stdin").write_text(stdin, "utf-8")
        given = {"cwd": str(self.folder), "arguments": arguments, "environ": environ or {}}
        self.forks.stdin.write(json.dumps(given) + "\n")
        code = int(self.forks.stdout.readline())
        stdout, stderr = ((self.folder / name).read_text("utf-8") for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(arguments, code, stdout, stderr)

    def planned(self, *arguments):
        """Return the commands that the deployment script would run, each as a list of words."""
        done = self.deploy(*arguments, "--print")
        assert done.returncode == 0, done.stderr
        lines = done.stdout.replace(" \\\n", " ").splitlines()
        return [shlex.split(line) for line in lines if not line.startswith("#")]

    def given(self, *arguments):
        """Return the parameters of the last planned command, without the quotes that SAM requires."""
        command = self.planned(*arguments)[-1]
        pairs = command[command.index("--parameter-overrides") + 1 :]
        return {name: value.strip('"') for name, value in (pair.split("=", 1) for pair in pairs)}


@pytest.fixture
def checkout(root, tmp_path, forks):
    """Return a copy of the deployment files together with a build."""
    for folder in ("deploy", "ticketbottle_payctl"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "cli"))
    return Checkout(tmp_path, forks)
