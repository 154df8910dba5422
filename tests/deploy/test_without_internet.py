"""Test the page about a VPC without internet access: its endpoints, its parameters, and the installation of payctl."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import IN_CI
from ticketbottle_payctl.providers.queries import QUERIES

pytestmark = pytest.mark.timeout(300)
"""The time limit, in seconds. The limit is long, because one test downloads all packages of the command line."""

CLIENT = re.compile(r"""(?:make_client|quick_client)\("([a-z]+)\"""")
SELF_MADE = re.compile(r'self\._make_client\("([a-z]+)"\)')
OUTSIDE = {"lambda", "codedeploy"}
"""The services that only `before-traffic` calls. This function is outside the VPC."""


@pytest.fixture(scope="module")
def page(root):
    """Return the text of the page."""
    return (root / "docs" / "how-to" / "without-internet.md").read_text("utf-8")


@pytest.fixture(scope="module")
def endpoints(page):
    """Map each endpoint in the page's table to the rest of its row: its type, who needs it, and when."""
    rows = re.findall(r"^\| (`[a-z0-9., `-]+) \| (interface|gateway) \| ([^|]+) \| ([^|]+) \|$", page, re.MULTILINE)
    return {name: (kind, who, when) for names, kind, who, when in rows for name in re.findall(r"`([^`]+)`", names)}


def test_the_functions_need_exactly_the_endpoints_of_the_services_that_the_code_calls(root, endpoints):
    """The page lists an endpoint for each AWS service that a function in the VPC calls, and for no other service."""
    called = {}
    for folder in ("ticketbottle_payctl/aws", "lambda_entrypoints"):
        for path in (root / folder).glob("*.py"):
            text = path.read_text("utf-8")
            for service in [*CLIENT.findall(text), *SELF_MADE.findall(text)]:
                called.setdefault(service, set()).add(path.name)
    assert {service for service, files in called.items() if files == {"before_traffic.py"}} == OUTSIDE
    needed = {name for name, (_, who, _) in endpoints.items() if who == "the functions in the VPC"}
    assert needed == called.keys() - OUTSIDE == {"secretsmanager", "sqs", "sns"}


def test_the_endpoints_for_alerts_are_needed_only_with_direct_alerts(endpoints, functions):
    """The functions get the topic and the queue only with `DirectAlerts=true`, as the page says."""
    assert {name for name, (_, _, when) in endpoints.items() if when == "with `DirectAlerts=true`"} == {"sqs", "sns"}
    for name, variable in (("PublishOutboxFunction", "DEAD_EVENTS_QUEUE_URL"), ("WebhookFunction", "ALERTS_TOPIC_ARN")):
        assert functions[name]["Environment"]["Variables"][f"PAYCTL_{variable}"]["Fn::If"][0] == "TellsDirectly"


def test_only_s3_is_a_gateway_endpoint(endpoints, page):
    """The page's table and its commands use the same type for each endpoint."""
    assert {name for name, (kind, _, _) in endpoints.items() if kind == "gateway"} == {"s3"}
    interface, gateway = re.findall(r"--vpc-endpoint-type (\w+)[^;]*?--service-name com\.amazonaws\.\S+?\.(\S+)", page)
    assert (interface, gateway) == (("Interface", "$SERVICE"), ("Gateway", "s3"))
    (services,) = re.findall(r"^for SERVICE in (.+); do$", page, re.MULTILINE)
    assert {endpoints[name][0] for name in services.split()} == {"interface"}


def test_the_pages_set_each_variable_of_the_commands(root, page):
    """The commands that create the endpoints use only variables that this page or docs/deploy.md sets."""
    (commands,) = re.findall(r"^```\n((?:(?!^```).)*create-vpc-endpoint.*?)^```", page, re.DOTALL | re.MULTILINE)
    exports = re.compile(r"^export (.*)$", re.MULTILINE)
    deploy = (root / "docs" / "deploy.md").read_text("utf-8")
    text = " ".join([*exports.findall(deploy.partition("\n## 2.")[0]), *exports.findall(commands)])
    used = set(re.findall(r"\$([A-Z_]+)", commands)) - {"SERVICE"}
    assert used - set(re.findall(r"\b([A-Z_]+)=", text)) == set()


def test_no_command_creates_an_endpoint_again(root, page):
    """The endpoint that docs/deploy.md creates is not in the list of this page, because AWS refuses a second one."""
    deploy = (root / "docs" / "deploy.md").read_text("utf-8")
    made = set(re.findall(r"--service-name com\.amazonaws\.\$AWS_REGION\.([a-z]+)", deploy))
    (services,) = re.findall(r"^for SERVICE in (.+); do$", page, re.MULTILINE)
    assert made == {"secretsmanager"}
    assert made.isdisjoint(services.split())


def test_the_functions_outside_the_vpc_are_the_ones_on_the_page(page, functions):
    """The page names exactly the functions without a VPC, and all functions of the stack."""
    names = {one["FunctionName"]["Fn::Sub"].partition("}-")[2]: one for one in functions.values()}
    outside = {name for name, one in names.items() if one["VpcConfig"] == {"Ref": "AWS::NoValue"}}
    (row,) = re.findall(r"^\| (.+) \| work: they are outside the VPC", page, re.MULTILINE)
    assert set(re.findall(r"`([^`]+)`", row)) == outside
    assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_page_names_the_address_of_each_gateway(page, template):
    """For each gateway, the page names the parameter and the variable that send its queries through a reverse proxy."""
    assert {query.url_variable for query in QUERIES.values()} == set(re.findall(r"`(PAYCTL_[A-Z]+_URL)`", page))
    parameters = set(re.findall(r"`([A-Z][A-Za-z]+Url)`", page))
    assert len(parameters) == len(QUERIES)
    assert parameters <= template["Parameters"].keys()


def commands_below(page, heading):
    """Return the commands below a heading of the page."""
    section = page.partition(f"\n### {heading}\n")[2].partition("\n### ")[0]
    return re.search(r"^```\n(.*?)^```", section, re.DOTALL | re.MULTILINE)[1]


def run(script, folder, environ):
    """Run a script as a reader pastes it, but stop at the first failure. Return what it printed."""
    command = ["/bin/bash", "-euo", "pipefail", "-c", script]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_page_s_commands_install_the_command_line_without_a_package_index(root, page, tmp_path):
    """The page's commands download all packages on one machine, and install and start payctl on another.

    The test uses its own Python version and processor on both machines.
    """
    if importlib.util.find_spec("ensurepip") is None:
        reason = "this Python has no ensurepip, which is in Debian's package python3-venv"
        pytest.fail(reason, pytrace=False) if IN_CI else pytest.skip(reason)
    own = {"PYTHON": os.path.realpath(sys.executable), "MACHINE": platform.machine()}
    own |= {"PIP_COMPILE": "0"}  # writing bytecode would take most of the time
    clone, inside = tmp_path / "clone", tmp_path / "inside"
    clone.mkdir()
    inside.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "locks", "ticketbottle_payctl", "lambda_entrypoints"):
        copy = shutil.copytree if (root / name).is_dir() else shutil.copyfile
        copy(root / name, clone / name)
    first, second = (
        re.sub(r"^export .*\n", "", commands_below(page, heading), count=1)
        for heading in ("On a machine with internet access", "On the machine inside the VPC")
    )
    printed = run(first, clone, {**os.environ, **own})
    shutil.move(clone / "build" / "wheelhouse.tar.gz", inside)
    shutil.rmtree(clone)
    # No index and no folder of packages is configured here, and a proxy that does not exist catches every request.
    environ = {"PATH": "/usr/bin:/bin", "HOME": str(inside), "https_proxy": "http://127.0.0.1:1", **own}
    shown = run(second, inside, environ)
    assert shown.split()[0] == printed.split()[0]  # the hash of the archive
    assert "valid" in shown
    assert "ZaloPay" in shown
