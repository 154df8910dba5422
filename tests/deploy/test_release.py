"""A change of code, template or parameter publishes a new version of the webhook, and both tools deploy the same."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import zipfile

import pytest

WAYS = {"sam": [], "cloudformation": ["--bucket", "a-bucket"]}
SECRETS = ("WebhookDatabase", "OutboxDatabase", "CleanupDatabase", "WatchDatabase", "Gateway", "Kafka")


def built_for(machine, path):
    """Write a zip with one library for an architecture, given as the number in its ELF header."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("python/library.so", b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little"))
        archive.writestr("python/module.py", "")


@pytest.fixture
def checkout(root, tmp_path, tools):
    """A copy of what deploys, with a build in it; ``checkout.deploy(...)`` runs it and ``edit`` changes a file."""
    for folder in ("deploy", "ticketbottle_payctl"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "cli"))
    (tmp_path / "build" / "package").mkdir(parents=True)
    for name in ("code.zip", "dependencies.zip"):
        built_for(183, tmp_path / "build" / "package" / name)

    class Checkout:
        folder = tmp_path

        def edit(self, name, before, after):
            """Replace a text that is in the file."""
            path = tmp_path / name
            text = path.read_text("utf-8")
            assert before in text
            path.write_text(text.replace(before, after), "utf-8")

        def deploy(self, *arguments, environ=None):
            """Run the script as `make deploy` does."""
            command = [str(tools), "-m", "deploy.release", *arguments]
            return subprocess.run(
                command, cwd=tmp_path, env=environ or {}, capture_output=True, text=True, check=False, timeout=50
            )

        def planned(self, *arguments):
            """The commands that it would run, as lists."""
            done = self.deploy(*arguments, "--print")
            assert done.returncode == 0, done.stderr
            return [shlex.split(line) for line in done.stdout.splitlines()]

        def given(self, *arguments):
            """The parameters of the last command, without the quotes that SAM wants."""
            command = self.planned(*arguments)[-1]
            pairs = command[command.index("--parameter-overrides") + 1 :]
            return {name: value.strip('"') for name, value in (pair.split("=", 1) for pair in pairs)}

    return Checkout()


def release(checkout, way, environment="dev"):
    """The release that one way would deploy."""
    given = checkout.given(environment, *WAYS[way])
    if way == "sam":
        return given["Release"]
    made = json.loads((checkout.folder / "build" / "package" / "cloudformation.json").read_text())
    assert given["CodeKey"] == f"{made['Outputs']['Release']['Value']}/code.zip"
    return made["Outputs"]["Release"]["Value"]


@pytest.fixture(scope="module", params=WAYS)
def changes(request, root, tools):
    """The logical ids of version and layer after each change of one thing."""
    command = [str(tools), "-m", "tests.deploy.version_ids", request.param]
    done = subprocess.run(command, cwd=root, env={}, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.timeout(180)  # it transforms the template once for each parameter
def test_each_changed_parameter_publishes_another_version(changes, template):
    """One parameter, the template or a zip changes: the alias then points to a version with another logical id."""
    found = changes["versions"]
    places = {"CodeBucket", "CodeKey", "LayerKey"}  # what is in the zips is part of the release; where they are is not
    assert found.keys() == {"before", "(template)", "(code)", "(layer)"} | (template["Parameters"].keys() - places)
    assert len(set(found.values())) == len(found)


@pytest.mark.timeout(180)
def test_the_layers_of_earlier_releases_survive(changes):
    """A new layer has another logical id and the old one is kept, so a version of before still finds it."""
    layers = changes["layers"]
    assert layers["(layer)"][0] != layers["before"][0]
    assert layers["(code)"] == layers["before"]
    assert {kept for _, kept in layers.values()} == {"RetainExceptOnCreate"}


@pytest.mark.parametrize("way", WAYS)
def test_a_changed_tag_publishes_no_version(checkout, way):
    """A tag is no setting of the function, so the release stays the same; a parameter in the same file changes it."""
    before = release(checkout, way)
    checkout.edit("deploy/samconfig.toml", '"environment=dev"]', '"environment=dev", "team=payments"]')
    assert release(checkout, way) == before
    checkout.edit("deploy/samconfig.toml", "example/dev/gateways", "example/dev/gateways-of-2027")
    assert release(checkout, way) != before


def test_both_tools_deploy_the_same_release_and_parameters(checkout):
    """SAM and plain CloudFormation get the same values from the same file, the template's defaults included."""
    sam, plain = checkout.given("prod"), checkout.given("prod", "--bucket", "a-bucket")
    assert sam["Release"] == release(checkout, "cloudformation", "prod")
    assert {name: sam[name] for name in sam if name != "Release"} == {
        name: plain[name] for name in plain if name not in {"CodeBucket", "CodeKey", "LayerKey"}
    }
    assert (sam["WebhookProvisioned"], sam["KafkaPort"], sam["KafkaSecretArn"]) == ("2", "9098", "")


def test_a_removed_line_restores_the_default(checkout):
    """CloudFormation keeps the value of a parameter that is not named, so every parameter is named."""
    before = checkout.given("prod")
    checkout.edit("deploy/samconfig.toml", '  "WebhookProvisioned=2",\n', "")
    after = checkout.given("prod")
    assert (before["WebhookProvisioned"], after["WebhookProvisioned"]) == ("2", "0")
    assert before["Release"] != after["Release"]


def test_plain_cloudformation_uploads_the_build_under_its_release(checkout):
    """Zips and template get an address of their own for each release, so an earlier one can be deployed again."""
    *uploads, deployed = checkout.planned("dev", "--bucket", "a-bucket")
    place = f"s3://a-bucket/{release(checkout, 'cloudformation')}/"
    assert [command[:3] for command in uploads] == [["aws", "s3", "cp"]] * 3
    assert [(command[3].rpartition("/")[2], command[4]) for command in uploads] == [
        (name, place) for name in ("code.zip", "dependencies.zip", "cloudformation.json")
    ]
    assert deployed[:3] == ["aws", "cloudformation", "deploy"]
    assert {"payctl-dev", "ap-southeast-1", "CAPABILITY_IAM", "service=payctl"} <= set(deployed)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('  "KafkaBrokers=b-1.exampledev.kafka.ap-southeast-1.amazonaws.com:9098",\n', "", "KafkaBrokers is missing"),
        ('"Environment=dev",', '"Environment=dev", "BatchSiez=5",', "BatchSiez is not a parameter"),
        ('"Environment=dev",', '"Environment=develop",', "Environment is not one of dev, staging, prod"),
        ('"GatewaySecretArn=arn:aws:', '"GatewaySecretArn=arn:aws:s3:', "GatewaySecretArn does not match"),
        ('"Environment=dev",', '"Environment=dev", "Release=0",', "Release is not a parameter"),
    ],
)
def test_a_wrong_parameter_stops_before_anything_is_uploaded(checkout, before, after, words):
    """What CloudFormation would refuse, or silently ignore, is named here."""
    checkout.edit("deploy/samconfig.toml", before, after)
    done = checkout.deploy("dev", "--bucket", "a-bucket", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_nothing_is_deployed_without_a_build(checkout):
    """The message names the zip that `make package` makes."""
    (checkout.folder / "build" / "package" / "code.zip").unlink()
    done = checkout.deploy("dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert "code.zip" in done.stderr


@pytest.mark.parametrize(("machine", "name"), [(62, "x86_64"), (40, "unknown")])
def test_a_build_for_another_architecture_is_not_deployed(checkout, machine, name):
    """The function would start and fail to import its drivers. With the right parameter the build is deployed."""
    built_for(machine, checkout.folder / "build" / "package" / "dependencies.zip")
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the build is for {name}, but Architecture is arm64" in done.stderr
    checkout.edit("deploy/samconfig.toml", '"Environment=dev",', f'"Environment=dev", "Architecture={name}",')
    assert checkout.deploy("dev", "--print").returncode == (0 if name == "x86_64" else 2)


def test_a_command_that_fails_ends_the_deployment(checkout):
    """An upload that failed is not followed by a deployment of what is not there."""
    folder = checkout.folder / "bin"
    folder.mkdir()
    (folder / "aws").write_text('#!/bin/sh\necho "called $2" >&2\nexit 3\n')
    (folder / "aws").chmod(0o755)
    done = checkout.deploy("dev", "--bucket", "a-bucket", environ={"PATH": str(folder)})
    assert (done.returncode, done.stderr) == (3, "called cp\n")


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_that_is_exchanged_is_granted_before_and_after(template, statements, name):
    """The role that reads the secret may also read the one before, if it is given, and no other role may."""
    condition = {"Fn::If": [f"Had{name}", {"Ref": f"Previous{name}SecretArn"}, {"Ref": "AWS::NoValue"}]}
    granted = [(role, each) for role, each in statements if f'"Previous{name}SecretArn"' in json.dumps(each)]
    ((role, statement),) = granted
    assert condition in statement["Resource"]
    assert statement["Action"] == "secretsmanager:GetSecretValue"
    assert [each for owner, each in statements if f'"{name}SecretArn"' in json.dumps(each)] == [statement]
    assert role.endswith("Role")
    assert template["Parameters"][f"Previous{name}SecretArn"]["Default"] == ""


def test_a_key_that_is_exchanged_is_granted_before_and_after(of_type):
    """The version that still has callbacks decrypts its environment with the key of before."""
    (policy,) = of_type("IAM::ManagedPolicy").values()
    keys = [each["Fn::If"] for each in policy["PolicyDocument"]["Statement"] if "Key" in json.dumps(each.get("Fn::If"))]
    granted = {condition: statement["Resource"] for condition, statement, _ in keys}
    assert granted == {"HasKms": {"Ref": "KmsKeyArn"}, "HadKms": {"Ref": "PreviousKmsKeyArn"}}
