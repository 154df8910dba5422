"""Test the IAM policy for deployments, which is generated from CloudFormation's own schemas."""

from __future__ import annotations

import json
import subprocess
import tomllib

import pytest


@pytest.fixture(scope="module")
def policy(root):
    """Return the statements of the policy."""
    return json.loads((root / "deploy" / "deployer-policy.json").read_text("utf-8"))["Statement"]


def test_the_deployer_s_policy_is_current(root, tools):
    """The deployer's policy file matches the output of `make template`."""
    command = [str(tools), "-m", "deploy.deployer", "--check"]
    done = subprocess.run(command, cwd=root, env={}, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stderr


def test_the_deployer_s_policy_has_no_wildcard_action(policy):
    """The deployer's policy names each action in full and stays below IAM's limit of 10,240 characters."""
    assert [action for one in policy for action in one["Action"] if "*" in action] == []
    assert len(json.dumps(policy, separators=(",", ":"))) < 10_240


@pytest.mark.parametrize("service", ["lambda", "iam", "sqs", "sns", "scheduler", "codedeploy", "cloudformation"])
def test_the_deployer_s_policy_is_limited_to_one_stack(policy, service):
    """In the deployer's policy, each action that accepts resources is limited to the stack's resources.

    The exceptions are reading a code signing configuration and creating a service-linked role.
    """
    for one in policy:
        actions = {action for action in one["Action"] if action.startswith(f"{service}:")}
        actions -= {"lambda:GetCodeSigningConfig", "iam:CreateServiceLinkedRole"}
        if actions:
            assert all(
                "STACK" in place or "transform/" in place or "deploymentconfig" in place for place in one["Resource"]
            )


def test_the_deployer_can_pass_roles_to_three_services_only(policy):
    """A deployer can pass the stack's roles only to three AWS services, and so cannot use the roles elsewhere."""
    (passing,) = (one for one in policy if "iam:PassRole" in one["Action"])
    assert passing["Condition"]["StringEquals"]["iam:PassedToService"] == [
        "lambda.amazonaws.com", "scheduler.amazonaws.com", "codedeploy.amazonaws.com",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "action",
    ["lambda:PublishVersion", "iam:CreateRole", "scheduler:CreateSchedule", "codedeploy:CreateDeployment",
     "sqs:CreateQueue",
     "cloudwatch:PutCompositeAlarm", "ec2:AuthorizeSecurityGroupIngress", "apigateway:POST", "s3:PutObject",
     "cloudformation:ExecuteChangeSet", "cloudformation:DeleteStack", "logs:PutMetricFilter"],
)  # fmt: skip
def test_the_deployer_s_policy_allows_each_step_of_a_deployment(policy, action):
    """The deployer's policy allows each action in a deployment.

    Without one of them, the deployment would stop halfway.
    """
    assert action in {each for one in policy for each in one["Action"]}


def test_the_deployer_s_policy_allows_reading_no_secret(policy):
    """A deployer can refer to a secret by ARN but cannot read the secret's value."""
    assert [action for one in policy for action in one["Action"] if action.startswith("secretsmanager:")] == []


@pytest.mark.parametrize("environment", ["dev", "staging", "prod"])
def test_sam_needs_no_stack_that_the_deployer_may_not_create(root, environment):
    """SAM uploads to a named bucket. With `resolve_s3`, it would create a stack that the policy does not allow."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))[environment]
    settings = config["deploy"]["parameters"]
    assert "resolve_s3" not in settings
    assert settings["s3_bucket"]
    assert settings["s3_prefix"] == config["global"]["parameters"]["stack_name"]


def test_only_production_needs_a_raised_quota(root):
    """A new account has a small quota, so dev and staging do not reserve concurrency or keep functions warm."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))
    reserving = ("Reserved", "WebhookProvisioned")
    found = {
        name
        for name in ("dev", "staging", "prod")
        if any(each.startswith(reserving) for each in config[name]["deploy"]["parameters"]["parameter_overrides"])
    }
    assert found == {"prod"}
