"""Test that the settings of `payctl demo --keep` reach a `sam local` container, but not a deployed function.

The tests ask SAM CLI's own classes which variables a container would get. These tests start no container.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys

import pytest

from tests.deploy.conftest import INSIDE, missing
from tests.jobs.process_webhook.test_replies import WORDS
from tests.lambda_entrypoints import events
from tests.lambda_entrypoints.conftest import Shop
from tests.servers.lambda_runtime import PYTHON, Function
from ticketbottle_payctl.providers import GATEWAYS
from ticketbottle_payctl.sandbox.callbacks import environment

BROKERS = "127.0.0.1:41877,127.0.0.1:41878"
PASSED_ON = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}


def written(file, root, **environ):
    """Run the documented command that writes a SAM settings file. Return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "tests.servers.local_functions", "--sam", str(file)],
        cwd=root,
        env={**PASSED_ON, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )


@pytest.fixture(scope="module")
def made(root, tools, tmp_path_factory):
    """Return a function that runs the documented command for a database.

    The function returns the settings file, the output, and SAM's result.
    """
    if not PYTHON.exists():
        missing("the environment of AWS's runtime is missing: run `make functions`")

    def make(url):
        file = tmp_path_factory.mktemp("sam") / "folder" / "sam local.json"
        done = written(file, root, DATABASE_URL=url, KAFKA_BROKERS=BROKERS, **environment())
        assert (done.returncode, done.stderr) == (0, "")
        command = [str(tools), "-m", "tests.deploy.sam_local", str(file)]
        found = subprocess.run(
            command, cwd=root, env=PASSED_ON, capture_output=True, text=True, check=False, timeout=50
        )
        assert found.returncode == 0, found.stderr
        return file, done.stdout, json.loads(found.stdout)

    return make


@pytest.fixture(scope="module")
def sam(made):
    """Return SAM's result for a file with a database and brokers on this machine."""
    return made("postgresql://payments@127.0.0.1:41876/payments?schema=public")


def test_the_demo_s_settings_reach_the_container_of_each_function(sam):
    """The template names every variable that the demo sets, so that `--env-vars` can set it in the container."""
    _, _, found = sam
    database = {"DATABASE_URL": "postgresql://payments@host.docker.internal:41876/payments?schema=public"}
    local = {"ENVIRONMENT": "dev", "PGSSLMODE": "prefer", "PGSSLROOTCERT": ""}
    kafka = {
        "KAFKA_BROKERS": "host.docker.internal:41877,host.docker.internal:41878",
        "KAFKA_SSL": "false",
        "KAFKA_SASL_MECHANISM": "",
        "PAYCTL_LOOP_SECONDS": "0",
    }
    keys = {name: value for name, value in environment().items() if name in found["container"]["WebhookFunction"]}
    assert keys.keys() == {field.env for one in GATEWAYS.values() for field in one.fields if field.signs_callbacks}
    wanted = dict.fromkeys(INSIDE, database | local)
    wanted["WebhookFunction"] = database | local | keys
    wanted["PublishOutboxFunction"] = database | local | kafka
    for name, variables in wanted.items():
        assert variables.items() <= found["container"][name].items()


def test_each_secret_variable_can_be_set_for_a_container_and_is_absent_when_deployed(sam, inside):
    """A container can get the value of a secret variable directly. A deployed function gets only the secret's ARN."""
    _, _, found = sam
    for name, function in inside.items():
        of_secrets = {each for each in function["Environment"]["Variables"] if each.endswith("_SECRET_ARN")}
        direct = {each.removesuffix("_SECRET_ARN") for each in of_secrets}
        assert direct
        assert direct <= found["container"][name].keys()
        assert direct.isdisjoint(found["deployed"][name])
        assert "DATABASE_URL_SECRET_ARN" in found["deployed"][name]


def test_the_local_api_has_the_gateways_routes(sam, of_type):
    """`sam local start-api` serves every route of the deployed API."""
    _, _, found = sam
    paths = of_type("ApiGatewayV2::Api")["Api"]["Body"]["paths"]
    assert found["routes"] == sorted(f"{method.upper()} {path}" for path, one in paths.items() for method in one)


def test_the_command_for_sam_is_printed_and_its_file_is_private(sam):
    """The printed command names the settings file.

    Only the file's owner can read it, because the file contains a database password.
    """
    file, printed, _ = sam
    words = shlex.split(printed)
    assert words[:3] == ["sam", "local", "start-api"]
    assert words[words.index("--env-vars") + 1] == str(file)
    assert file.stat().st_mode & 0o777 == 0o600


def test_the_settings_for_sam_need_a_database_on_this_machine(root, tmp_path):
    """If the database runs on another machine, the documented command does not write a settings file."""
    done = written(tmp_path / "file.json", root, DATABASE_URL="postgresql://u:p@db.example.com/payments")
    assert (done.returncode, done.stdout) == (3, "")
    assert not (tmp_path / "file.json").exists()


def test_the_webhook_settles_a_payment_with_the_environment_of_its_container(made, database_url, engine):
    """In AWS's runtime, the webhook function accepts a callback with exactly the variables of its container."""
    _, _, found = made(database_url)
    shop = Shop(engine)
    shop.known()
    payment = events.PAYMENTS["zalopay"]
    # Docker's name for this machine resolves only in a container.
    environ = {
        name: value.replace("host.docker.internal", "127.0.0.1")
        for name, value in found["container"]["WebhookFunction"].items()
    }
    function = Function("webhook", environ)
    try:
        answer = function.invoke(events.read("zalopay.json"))
    finally:
        function.close()
    assert answer.payload["body"] == WORDS["zalopay"]["done"][1]
    assert answer.payload["statusCode"] == 200
    assert shop.status(payment) == "COMPLETED"
