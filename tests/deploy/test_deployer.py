"""The policy of whoever deploys, made from CloudFormation's own schemas."""

from __future__ import annotations

import json
import subprocess

import pytest


@pytest.fixture(scope="module")
def policy(root):
    """The statements of the policy."""
    return json.loads((root / "deploy" / "deployer-policy.json").read_text("utf-8"))["Statement"]


def test_the_policy_is_what_the_template_needs(root, tools):
    """`make template` would not change it."""
    command = [str(tools), "-m", "deploy.deployer", "--check"]
    done = subprocess.run(command, cwd=root, env={}, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr


def test_the_policy_has_no_wildcard_action_and_fits(policy):
    """Each action is named, and an inline policy of a role takes up to 10,240 characters."""
    assert [action for one in policy for action in one["Action"] if "*" in action] == []
    assert len(json.dumps(policy, separators=(",", ":"))) < 10_240


@pytest.mark.parametrize("service", ["lambda", "iam", "sqs", "sns", "scheduler", "codedeploy", "cloudformation"])
def test_the_policy_is_limited_to_one_stack(policy, service):
    """The actions that know a resource name the stack's; only reading a code signing configuration does not."""
    for one in policy:
        actions = {action for action in one["Action"] if action.startswith(f"{service}:")}
        actions -= {"lambda:GetCodeSigningConfig", "iam:CreateServiceLinkedRole"}
        if actions:
            assert all(
                "STACK" in place or "transform/" in place or "deploymentconfig" in place for place in one["Resource"]
            )


def test_the_roles_can_be_passed_to_three_services_only(policy):
    """Whoever deploys cannot hand the stack's roles to a machine of their own."""
    (passing,) = (one for one in policy if "iam:PassRole" in one["Action"])
    assert passing["Condition"]["StringEquals"]["iam:PassedToService"] == [
        "lambda.amazonaws.com", "scheduler.amazonaws.com", "codedeploy.amazonaws.com",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "action",
    ["lambda:PublishVersion", "iam:CreateRole", "scheduler:CreateSchedule", "codedeploy:CreateDeployment",
     "sqs:CreateQueue",
     "cloudwatch:PutCompositeAlarm", "ec2:AuthorizeSecurityGroupIngress", "apigateway:POST", "s3:PutObject",
     "cloudformation:ExecuteChangeSet", "logs:PutMetricFilter"],
)  # fmt: skip
def test_the_policy_allows_what_a_deployment_does(policy, action):
    """Without one of these a deployment would fail in the middle."""
    assert action in {each for one in policy for each in one["Action"]}


def test_the_policy_reads_no_secret(policy):
    """Whoever deploys names secrets and never sees one."""
    assert [action for one in policy for action in one["Action"] if action.startswith("secretsmanager:")] == []
