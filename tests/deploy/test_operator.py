"""Test that the IAM policy for operators allows the commands on the pages and nothing else."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

SECTIONS = (
    "### After the first deployment",
    "## 6. Test the stack before a gateway uses it",
    "## 8. A paid test order",
    "## Deploy a new version",
    "### If a deployment does not go through",
    "### The webhook's previous version",
    "### Stop the publisher",
)
"""The sections of docs/deploy.md with an operator's commands. The others are for an administrator or the pipeline."""

BY_ADMINISTRATOR = {"cloudformation:DetectStackDrift"}
"""An action that must also be allowed to read each resource of the stack."""

_ACTIONS = {"logs tail": "logs:FilterLogEvents", "lambda invoke": "lambda:InvokeFunction"}
_SERVICES = {"deploy": "codedeploy"}


def actions(text):
    """Return the IAM actions of the `aws` commands in a text."""
    found = set()
    for service, command in re.findall(r"\baws ([a-z0-9-]+) ([a-z][a-z-]+)", text):
        name = "".join(word.capitalize() for word in command.split("-"))
        found.add(_ACTIONS.get(f"{service} {command}", f"{_SERVICES.get(service, service)}:{name}"))
    return found


@pytest.fixture(scope="module")
def policy(root):
    """Return the statements of the policy."""
    return json.loads((root / "deploy" / "operator-policy.json").read_text("utf-8"))["Statement"]


@pytest.fixture(scope="module")
def allowed(policy):
    """Return the actions that the policy allows."""
    return {action for one in policy for action in one["Action"]}


@pytest.fixture(scope="module")
def deploy_page(root):
    """Return the text of docs/deploy.md."""
    return (root / "docs" / "deploy.md").read_text("utf-8")


@pytest.fixture(scope="module")
def who_operates(deploy_page):
    """Return the section of docs/deploy.md about operators."""
    return deploy_page.partition("\n### Who operates\n")[2].partition("\n### ")[0]


def test_an_operator_can_run_each_command_of_the_pages_and_nothing_else(root, deploy_page, allowed):
    """The policy allows exactly the actions of the `aws` commands in the runbook and in the sections for operators."""
    needed = actions((root / "docs" / "runbook.md").read_text("utf-8"))
    for heading in SECTIONS:
        assert deploy_page.count(f"\n{heading}\n") == 1
        needed |= actions(re.split(r"\n##+ ", deploy_page.partition(f"\n{heading}\n")[2])[0])
    own = {action for action in allowed if not action.startswith(("kafka-cluster:", "kms:"))}
    assert own == needed - BY_ADMINISTRATOR


def test_an_operator_has_each_permission_for_kafka(root, policy):
    """The policy contains each permission in the table of docs/how-to/kafka-security.md, and reads the topics.

    `payctl show` reads the record of an event.
    """
    page = (root / "docs" / "how-to" / "kafka-security.md").read_text("utf-8")
    rows = re.findall(r"^\| `payctl [a-z -]+` \|(.*)\|$", page, re.MULTILINE)
    named = {"Connect", *re.findall(r"`([A-Z]\w+)`", "".join(rows))}
    assert named >= {"WriteData", "ReadData"}
    given = {each for one in policy for each in one["Action"] if each.startswith("kafka-cluster:")}
    assert given == {f"kafka-cluster:{name}" for name in named}
    (topics,) = (one for one in policy if "kafka-cluster:ReadData" in one["Action"])
    assert topics["Resource"] == ["arn:aws:kafka:REGION:ACCOUNT:topic/CLUSTER/payment.*"]


def test_an_operator_s_policy_reaches_what_its_ids_say(policy, who_operates):
    """A statement's id says whether it reaches one stack, one cluster or the account.

    The page explains each of these ids.
    """
    starts = set()
    for one in policy:
        assert re.fullmatch("[A-Za-z]+", one["Sid"])
        start = re.match("OneStack|OneCluster|EveryStack", one["Sid"])[0]
        words = {word for word in ("STACK", "CLUSTER") for place in one["Resource"] if word in place}
        assert words == {"OneStack": {"STACK"}, "OneCluster": {"CLUSTER"}, "EveryStack": set()}[start]
        assert all("STACK" in place or "CLUSTER" in place for place in one["Resource"]) == (start != "EveryStack")
        starts.add(start)
    assert set(re.findall(r"^\| `([A-Za-z]+)` \|", who_operates, re.MULTILINE)) == starts


def test_an_operator_can_read_no_secret_and_change_no_resource(allowed):
    """The policy has no wildcard, no access to secrets or roles, and no action that creates or deletes a resource."""
    assert [action for action in allowed if "*" in action] == []
    assert [action for action in allowed if action.startswith(("secretsmanager:", "iam:", "s3:"))] == []
    assert {action for action in allowed if re.search(":(Create|Delete)", action)} == {
        "lambda:DeleteFunctionConcurrency"
    }


def test_an_operator_uses_keys_only_through_two_services(policy):
    """An operator can decrypt data only through CloudWatch Logs and SQS."""
    (keys,) = (one for one in policy if "kms:Decrypt" in one["Action"])
    assert keys["Condition"] == {
        "StringEquals": {"kms:ViaService": ["logs.REGION.amazonaws.com", "sqs.REGION.amazonaws.com"]}
    }


def test_the_page_s_command_fills_in_the_operator_s_policy(root, who_operates, policy, tools, tmp_path):
    """The page's `sed` command replaces every word of the policy, and AWS knows each action of the result."""
    (command,) = re.findall(r"^(CLUSTER=.*\nsed .*\\\n.* > operator\.json)$", who_operates, re.MULTILINE)
    (tmp_path / "deploy").symlink_to(root / "deploy")
    environ = {"PATH": "/usr/bin:/bin", "AWS_REGION": "ap-southeast-1", "ACCOUNT": "111122223333"}
    environ |= {"STACK": "payctl-prod"}
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", command], cwd=tmp_path, env=environ, check=True)
    filled = json.loads((tmp_path / "operator.json").read_text("utf-8"))
    assert [one["Sid"] for one in filled["Statement"]] == [one["Sid"] for one in policy]
    texts = [place for one in filled["Statement"] for place in (*one["Resource"], json.dumps(one.get("Condition", "")))]
    assert [text for text in texts if re.search("[A-Z]{4}", text)] == []
    template = tmp_path / "template.json"
    resource = {"Type": "AWS::IAM::ManagedPolicy", "Properties": {"PolicyDocument": filled}}
    template.write_text(json.dumps({"Resources": {"Operator": resource}}), "utf-8")
    command = [str(tools.with_name("cfn-lint")), "-r", "ap-southeast-1", "--", str(template)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert (done.returncode, done.stdout) == (0, "")
