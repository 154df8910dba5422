"""Test that a changed release publishes a new webhook version, and that both tools deploy the same release."""

from __future__ import annotations

import json
import subprocess

import pytest

WAYS = {"sam": [], "cloudformation": ["--bucket", "a-bucket"]}
SECRETS = (
    *("WebhookDatabase", "OutboxDatabase", "CleanupDatabase", "WatchDatabase", "Gateway", "Kafka"),
    *("ReconcileDatabase", "ReconcileGateway"),
)


def release(checkout, way, environment="dev"):
    """Return the release that the given tool would deploy."""
    given = checkout.given(environment, *WAYS[way])
    if way == "sam":
        return given["Release"]
    made = json.loads((checkout.folder / "build" / "package" / "cloudformation.json").read_text())
    assert given["CodeKey"] == f"{made['Outputs']['Release']['Value']}/code.zip"
    return made["Outputs"]["Release"]["Value"]


@pytest.fixture(scope="module", params=WAYS)
def changes(request, root, tools):
    """Return the logical ids of the webhook's version and layer after each change."""
    command = [str(tools), "-m", "tests.deploy.version_ids", request.param]
    done = subprocess.run(command, cwd=root, env={}, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.xdist_group("version_ids")
@pytest.mark.timeout(180)  # the tool transforms the template once for each parameter
def test_each_changed_parameter_publishes_another_version(changes, template):
    """After a change to a parameter, the template or a zip, the alias points to a version with a new logical id."""
    found = changes["versions"]
    places = {
        "CodeBucket",
        "CodeKey",
        "LayerKey",
    }  # the contents of the zips are part of the release, but not their address
    assert found.keys() == {"before", "(template)", "(code)", "(layer)"} | (template["Parameters"].keys() - places)
    assert len(set(found.values())) == len(found)


@pytest.mark.xdist_group("version_ids")
@pytest.mark.timeout(180)
def test_the_layers_of_earlier_releases_survive(changes):
    """A new layer has a new logical id. CloudFormation keeps the old layer, so an earlier version still works."""
    layers = changes["layers"]
    assert layers["(layer)"][0] != layers["before"][0]
    assert layers["(code)"] == layers["before"]
    assert {kept for _, kept in layers.values()} == {"RetainExceptOnCreate"}


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_tag_publishes_no_version(checkout, way):
    """A changed tag does not change the release, because a tag is not a function setting.

    A changed parameter changes the release.
    """
    before = release(checkout, way)
    checkout.edit("deploy/samconfig.toml", '"environment=dev"]', '"environment=dev", "team=payments"]')
    assert release(checkout, way) == before
    checkout.edit("deploy/samconfig.toml", "example/dev/gateways", "example/dev/gateways-of-2027")
    assert release(checkout, way) != before


def test_both_tools_deploy_the_same_release_and_parameters(checkout):
    """A deployment with SAM and one without SAM deploy the same release with the same parameters.

    Both tools get the parameters from one file and use the defaults from the template.
    """
    sam, plain = checkout.given("prod"), checkout.given("prod", "--bucket", "a-bucket")
    assert sam["Release"] == release(checkout, "cloudformation", "prod")
    assert {name: sam[name] for name in sam if name != "Release"} == {
        name: plain[name] for name in plain if name not in {"CodeBucket", "CodeKey", "LayerKey"}
    }
    assert (sam["WebhookProvisioned"], sam["KafkaPort"], sam["KafkaSecretArn"]) == ("2", "9098", "")


def test_a_parameter_that_is_removed_from_the_file_gets_its_default(checkout):
    """The deployment passes every parameter, because CloudFormation would keep the old value of a missing parameter."""
    before = checkout.given("prod")
    checkout.edit("deploy/samconfig.toml", '  "WebhookProvisioned=2",\n', "")
    after = checkout.given("prod")
    assert (before["WebhookProvisioned"], after["WebhookProvisioned"]) == ("2", "0")
    assert before["Release"] != after["Release"]


def test_plain_cloudformation_uploads_the_build_under_its_release(checkout):
    """Each release has its own S3 prefix for its zips, template and parameters."""
    *uploads, deployed = checkout.planned("dev", "--bucket", "a-bucket")
    place = f"s3://a-bucket/{release(checkout, 'cloudformation')}/"
    assert [command[:3] for command in uploads] == [["aws", "s3", "cp"]] * 4
    assert [(command[3].rpartition("/")[2], command[4]) for command in uploads] == [
        (name, place) for name in ("code.zip", "dependencies.zip", "cloudformation.json", "parameters.json")
    ]
    assert deployed[:3] == ["aws", "cloudformation", "deploy"]
    assert {"payctl-dev", "ap-southeast-1", "CAPABILITY_IAM", "service=payctl"} <= set(deployed)


def test_a_command_that_fails_ends_the_deployment(checkout):
    """If the upload fails, the deployment script deploys nothing."""
    folder = checkout.folder / "bin"
    folder.mkdir()
    (folder / "aws").write_text(
        '#!/bin/sh\ntest "$1" = sts && echo 444455556666 && exit\necho "called $2" >&2\nexit 3\n'
    )
    (folder / "aws").chmod(0o755)
    checkout.name_real_resources()
    done = checkout.deploy("dev", "--bucket", "shop-builds", environ={"PATH": str(folder)})
    assert (done.returncode, done.stderr.splitlines()[-1]) == (3, "called cp")
    assert done.stderr.count("called") == 1


@pytest.mark.parametrize("name", SECRETS)
def test_a_role_can_read_the_previous_secret_during_a_change(template, statements, name):
    """If a previous secret is given, a role that can read the current secret can also read the previous one.

    Other roles cannot.
    """
    condition = {"Fn::If": [f"Had{name}", {"Ref": f"Previous{name}SecretArn"}, {"Ref": "AWS::NoValue"}]}
    granted = [(role, each) for role, each in statements if f'"Previous{name}SecretArn"' in json.dumps(each)]
    ((role, statement),) = granted
    assert condition in statement["Resource"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert [each for owner, each in statements if f'"{name}SecretArn"' in json.dumps(each)] == [statement]
    assert role.endswith("Role")
    assert template["Parameters"][f"Previous{name}SecretArn"]["Default"] == ""


def test_the_webhook_can_decrypt_with_the_previous_key_during_a_change(of_type):
    """An old webhook version that still gets callbacks can decrypt its environment with the previous key."""
    (policy,) = of_type("IAM::ManagedPolicy").values()
    keys = [each["Fn::If"] for each in policy["PolicyDocument"]["Statement"] if "Key" in json.dumps(each.get("Fn::If"))]
    granted = {condition: statement["Resource"] for condition, statement, _ in keys}
    assert granted == {"HasKms": {"Ref": "KmsKeyArn"}, "HadKms": {"Ref": "PreviousKmsKeyArn"}}
