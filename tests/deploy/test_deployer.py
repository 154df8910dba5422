"""Test the IAM policy for deployments, which is generated from CloudFormation's own schemas."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest

STACKS = ("dev", "staging", "prod")


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


def test_the_shipped_configuration_follows_the_page_s_advice_on_cost(root):
    """Dev has the cheaper `LoopSeconds=0`, as docs/deploy.md says. Staging tests the endpoints that prod needs."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))
    given = {name: set(config[name]["deploy"]["parameters"]["parameter_overrides"]) for name in STACKS}
    assert {name for name, entries in given.items() if "LoopSeconds=0" in entries} == {"dev"}
    assert {name for name, entries in given.items() if "DirectAlerts=true" in entries} == {"staging", "prod"}
    page = " ".join((root / "docs" / "deploy.md").read_text("utf-8").split())
    assert "The section for dev sets `LoopSeconds=0`" in page
    assert "with `DirectAlerts=true`, as in the shipped sections for staging and prod, also endpoints" in page


@pytest.fixture(scope="module")
def who_deploys(root):
    """Return the section of docs/deploy.md about the deployment role."""
    _, _, after = (root / "docs" / "deploy.md").read_text("utf-8").partition("\n### Who deploys\n")
    return after.partition("\n### ")[0]


def test_the_id_of_a_statement_says_what_it_reaches(policy, who_deploys):
    """A statement's id begins with `OneStack` only if its resources name the stack. IAM accepts every id.

    docs/deploy.md explains the words with which the ids begin.
    """
    reached = {}
    for one in policy:
        assert re.fullmatch("[A-Za-z0-9]+", one["Sid"])
        start = re.match("OneStack|OneBucket|EveryStack", one["Sid"])[0]
        places = " ".join(one["Resource"])
        assert start == ("OneStack" if "STACK" in places else "OneBucket" if "BUCKET" in places else "EveryStack")
        reached.setdefault(start, set()).update(action.partition(":")[0] for action in one["Action"])
    assert len({one["Sid"] for one in policy}) == len(policy)
    assert set(re.findall(r"^\| `([A-Za-z]+)` \|", who_deploys, re.MULTILINE)) == reached.keys()
    assert reached["EveryStack"] >= {"apigateway", "cloudwatch", "ec2", "application-autoscaling", "kms"}


@pytest.fixture(scope="module")
def stack(root):
    """Return the name of the stack that section 1 of docs/deploy.md sets."""
    page = (root / "docs" / "deploy.md").read_text("utf-8")
    name, pattern = re.search(r"^ENV=(\w+); STACK=(\S+) BUCKET=\S+$", page, re.MULTILINE).groups()
    return pattern.replace("$ENV", name)


def test_no_later_command_of_the_page_changes_the_account_or_the_stack(root):
    """Only section 1 of docs/deploy.md sets the variables that its commands share.

    Commands that are pasted in order then never reach another account or stack.
    """
    page = (root / "docs" / "deploy.md").read_text("utf-8")
    _, _, after = page.partition("\n## 2.")
    alone = [
        line for line in after.splitlines() if re.fullmatch(r" *(export )?[A-Z_]+=[^ ]+( [A-Z_]+=[^ ]+)*( +#.*)?", line)
    ]
    set_again = {name for line in alone for name in re.findall(r"\b([A-Z_]+)=", line)}
    assert "OWNERS_URL" in set_again
    assert set_again.isdisjoint({"ENV", "STACK", "BUCKET", "AWS_PROFILE", "AWS_REGION", "VPC"})
    fixed = re.compile(
        r"^ *(?:aws|make) .*(?:payctl-(?:dev|prod)|payctl/(?:dev|prod)|my-builds|ENV=[a-z])", re.MULTILINE
    )
    assert fixed.findall(page) == []


@pytest.fixture(scope="module")
def filled(root, stack, who_deploys, tmp_path_factory):
    """Return the text of the policy after the page's `sed` command has filled it in."""
    (command,) = re.findall(r"^(sed .*\\\n.* > policy\.json)$", who_deploys, re.MULTILINE)
    folder = tmp_path_factory.mktemp("policy")
    (folder / "deploy").symlink_to(root / "deploy")
    environ = {"PATH": "/usr/bin:/bin", "AWS_REGION": "ap-southeast-1", "ACCOUNT": "111122223333", "STACK": stack}
    environ |= {"BUCKET": "builds"}
    subprocess.run(["/bin/bash", "-euo", "pipefail", "-c", command], cwd=folder, env=environ, check=True)
    return (folder / "policy.json").read_text("utf-8")


def test_the_policies_of_two_stacks_do_not_fit_into_one_role(filled, who_deploys):
    """docs/deploy.md asks for a role for each stack, and its reason is true: two policies exceed IAM's limit.

    IAM counts no white space.
    """
    size = len(re.sub(r"\s", "", filled))
    (written,) = re.findall(r"about ([\d,]+) characters", who_deploys)
    assert abs(int(written.replace(",", "")) - size) < 100
    assert size < 10_240 < 2 * size


def test_the_deployment_role_cannot_change_itself(policy, stack, who_deploys):
    """The role's name in docs/deploy.md does not match the names of the roles that the role is allowed to change."""
    (role,) = {name.replace("$STACK", stack) for name in re.findall(r"--role-name (\S+)", who_deploys)}
    (statement,) = (one for one in policy if "iam:PutRolePolicy" in one["Action"])
    (pattern,) = (place.rpartition("/")[2] for place in statement["Resource"] if ":role/" in place)
    changed = re.escape(pattern.replace("STACK", stack)).replace(r"\*", ".*")
    assert re.fullmatch(changed, f"{stack}-WebhookRole-1A2B")
    assert not re.fullmatch(changed, role)
    assert stack in role


def test_no_stack_s_resources_look_like_those_of_another_stack(root):
    """No stack's name in samconfig.toml begins with another stack's name and a hyphen."""
    config = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))
    names = {config[one]["global"]["parameters"]["stack_name"] for one in ("dev", "staging", "prod")}
    assert len(names) == 3
    assert [(one, other) for one in names for other in names if other.startswith(f"{one}-")] == []


@pytest.mark.parametrize("action", ["lambda:InvokeFunction", "logs:FilterLogEvents", "sqs:ReceiveMessage"])
def test_the_deployer_s_policy_allows_no_operation_of_the_stack(policy, action):
    """A deployer cannot invoke a function, read a log or read a queue, as docs/deploy.md says."""
    assert action not in {each for one in policy for each in one["Action"]}


def test_the_page_explains_each_name_of_the_makefile_and_the_policy(root, template):
    """The table in docs/deploy.md has every variable of `make package` and `make deploy`, and only existing names."""
    _, _, after = (root / "docs" / "deploy.md").read_text("utf-8").partition("\n### What the names are for\n")
    rows = re.findall(r"^\| (`.+?) \| (.+?) \| .+ \|$", after.partition("\n### ")[0], re.MULTILINE)
    named = {name: place for names, place in rows for name in re.findall(r"`([^`]+)`", names)}
    makefile = (root / "Makefile").read_text("utf-8")
    used = {
        target: set(
            re.findall(
                r"\$\((?:if \$\()?([A-Z]+)\)", re.search(rf"^{target}: .*\n(?:\t.*\n)+", makefile, re.MULTILINE)[0]
            )
        )
        - {"TOOLS", "SBOM", "LAMBDA"}
        for target in ("package", "deploy")
    }
    listed = {
        target: {name[:-1] for name, place in named.items() if name.endswith("=") and f"`make {target}`" in place}
        for target in used
    }
    assert listed == used
    policy = (root / "deploy" / "deployer-policy.json").read_text("utf-8")
    words = {name for name, place in named.items() if "deployer-policy.json" in place}
    assert words == set(re.findall(r"(?<![A-Za-z])([A-Z]{4,})(?![A-Za-z])", policy)) - {"DELETE", "PATCH", "POST"}
    assert {name for name, place in named.items() if "parameter" in place} <= template["Parameters"].keys() | {
        "Release"
    }
    settings = tomllib.loads((root / "deploy" / "samconfig.toml").read_text("utf-8"))["prod"]["deploy"]["parameters"]
    assert {name for name, place in named.items() if place.startswith("`deploy/samconfig.toml`")} <= settings.keys()


def test_the_page_s_command_fills_in_the_policy(policy, filled):
    """The `sed` command in docs/deploy.md replaces every word in the policy's ARNs and changes no id of a statement."""
    statements = json.loads(filled)["Statement"]
    assert [one["Sid"] for one in statements] == [one["Sid"] for one in policy]
    assert [place for one in statements for place in one["Resource"] if re.search("[A-Z]", place)] == []
