"""Test when a deployment publishes a new webhook version, and that both deployment tools deploy the same release."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import zipfile

import pytest

WAYS = {"sam": [], "cloudformation": ["--bucket", "a-bucket"]}
SECRETS = (
    *("WebhookDatabase", "OutboxDatabase", "CleanupDatabase", "WatchDatabase", "Gateway", "Kafka"),
    *("ReconcileDatabase", "ReconcileGateway"),
)


FORKS = """
import json, os, runpy, sys
import samtranslator.translator.transform, samtranslator.yaml_helper
for line in sys.stdin:
    given = json.loads(line)
    child = os.fork()
    if not child:
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, dir_fd=os.open(given["cwd"], 0)), number)
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


def built_for(machine, path):
    """Write a zip with one library. ``machine`` is the architecture's number in the library's ELF header."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("python/library.so", b"\x7fELF" + bytes(14) + machine.to_bytes(2, "little"))
        archive.writestr("python/module.py", "")


@pytest.fixture
def checkout(root, tmp_path, forks):
    """Return a copy of the deployment files together with a build.

    ``checkout.deploy(...)`` runs the script, and ``checkout.edit(...)`` changes a file.
    """
    for folder in ("deploy", "ticketbottle_payctl"):
        shutil.copytree(root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__", "cli"))
    (tmp_path / "build" / "package").mkdir(parents=True)
    for name in ("code.zip", "dependencies.zip"):
        built_for(183, tmp_path / "build" / "package" / name)

    class Checkout:
        folder = tmp_path

        def edit(self, name, before, after):
            """Replace a string in a file."""
            path = tmp_path / name
            text = path.read_text("utf-8")
            assert before in text
            path.write_text(text.replace(before, after), "utf-8")

        def deploy(self, *arguments, environ=None):
            """Run the script as `make deploy` does."""
            given = {"cwd": str(tmp_path), "arguments": arguments, "environ": environ or {}}
            forks.stdin.write(json.dumps(given) + "\n")
            code = int(forks.stdout.readline())
            stdout, stderr = ((tmp_path / name).read_text("utf-8") for name in ("stdout", "stderr"))
            return subprocess.CompletedProcess(arguments, code, stdout, stderr)

        def planned(self, *arguments):
            """Return the commands that the script would run, each as a list of words."""
            done = self.deploy(*arguments, "--print")
            assert done.returncode == 0, done.stderr
            return [shlex.split(line) for line in done.stdout.splitlines()]

        def given(self, *arguments):
            """Return the parameters of the last planned command, without the quotes that SAM requires."""
            command = self.planned(*arguments)[-1]
            pairs = command[command.index("--parameter-overrides") + 1 :]
            return {name: value.strip('"') for name, value in (pair.split("=", 1) for pair in pairs)}

    return Checkout()


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

    A changed parameter does change it.
    """
    before = release(checkout, way)
    checkout.edit("deploy/samconfig.toml", '"environment=dev"]', '"environment=dev", "team=payments"]')
    assert release(checkout, way) == before
    checkout.edit("deploy/samconfig.toml", "example/dev/gateways", "example/dev/gateways-of-2027")
    assert release(checkout, way) != before


def test_both_tools_deploy_the_same_release_and_parameters(checkout):
    """SAM and plain CloudFormation deploy the same release with the same parameters.

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
    """Each release has its own S3 address for its zips and template, so an earlier release can be deployed again."""
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
        ('"Environment=dev",', '"Environment=dev", "BatchSiez=5",', "BatchSiez is not a parameter that you can set"),
        ('"Environment=dev",', '"Environment=develop",', "Environment is not one of dev, staging, prod"),
        ('"GatewaySecretArn=arn:aws:', '"GatewaySecretArn=arn:aws:s3:', "GatewaySecretArn does not match"),
        ('"Environment=dev",', '"Environment=dev", "Release=0",', "Release is not a parameter that you can set"),
    ],
)
def test_a_wrong_parameter_stops_the_deployment_before_the_upload(checkout, before, after, words):
    """Before the upload, `make deploy` names each parameter value that CloudFormation would refuse or ignore."""
    checkout.edit("deploy/samconfig.toml", before, after)
    done = checkout.deploy("dev", "--bucket", "a-bucket", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


def test_nothing_is_deployed_without_a_build(checkout):
    """Without a build, nothing is deployed. The error names the missing zip."""
    (checkout.folder / "build" / "package" / "code.zip").unlink()
    done = checkout.deploy("dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert "code.zip" in done.stderr


@pytest.mark.parametrize(("machine", "name"), [(62, "x86_64"), (40, "unknown")])
def test_a_build_for_another_architecture_is_not_deployed(checkout, machine, name):
    """A build for another architecture is not deployed, because the function could not import its drivers."""
    built_for(machine, checkout.folder / "build" / "package" / "dependencies.zip")
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the build is for {name}, but Architecture is arm64" in done.stderr
    checkout.edit("deploy/samconfig.toml", '"Environment=dev",', f'"Environment=dev", "Architecture={name}",')
    assert checkout.deploy("dev", "--print").returncode == (0 if name == "x86_64" else 2)


def test_a_command_that_fails_ends_the_deployment(checkout):
    """If the upload fails, the deployment script does not deploy."""
    folder = checkout.folder / "bin"
    folder.mkdir()
    (folder / "aws").write_text('#!/bin/sh\necho "called $2" >&2\nexit 3\n')
    (folder / "aws").chmod(0o755)
    done = checkout.deploy("dev", "--bucket", "a-bucket", environ={"PATH": str(folder)})
    assert (done.returncode, done.stderr) == (3, "called cp\n")


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
