"""Test the Kubernetes manifests without a cluster."""

from __future__ import annotations

import re
import subprocess
from datetime import timedelta

import pytest
import yaml

from lambda_entrypoints.reconcile_payments import RESERVE_SECONDS
from ticketbottle_payctl.jobs.reconcile.settle_overdue import UnattendedOptions

MANIFESTS = ("publisher.yaml", "check-outbox.yaml", "cleanup.yaml", "reconcile-payments.yaml")


@pytest.fixture(scope="module")
def folder(root):
    """Return the folder with the manifests."""
    found = root / "deploy" / "kubernetes"
    assert {path.name for path in found.iterdir()} == set(MANIFESTS)
    return found


def pod(manifest):
    """Return the pod's specification in a manifest."""
    *_, workload = yaml.safe_load_all(manifest.read_text("utf-8"))
    spec = workload["spec"]
    return (spec["jobTemplate"]["spec"] if workload["kind"] == "CronJob" else spec)["template"]["spec"]


@pytest.fixture(params=MANIFESTS)
def manifest(request, folder):
    """Return the path of each manifest."""
    return folder / request.param


@pytest.fixture(scope="module")
def validate(tools):
    """Return a function that validates a manifest against Kubernetes' schemas.

    The function returns an exit code and the faults.
    """
    program = tools.with_name("kubernetes-validate")
    if not program.exists():
        pytest.skip("the template's tools are out of date: make template")

    def run(path):
        command = [str(program), "--strict", "--quiet", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
        return done.returncode, done.stdout + done.stderr

    return run


def test_a_manifest_follows_kubernetes_schemas(validate, manifest):
    """`kubectl apply` accepts each manifest, because every field exists and has the right type."""
    assert validate(manifest) == (0, "")


@pytest.mark.parametrize("field", ["selector", "template"])
def test_the_validation_notices_a_missing_field(validate, folder, tmp_path, field):
    """The validation against Kubernetes' schemas refuses a deployment without a required field."""
    *others, workload = yaml.safe_load_all((folder / "publisher.yaml").read_text("utf-8"))
    del workload["spec"][field]
    path = tmp_path / "publisher.yaml"
    path.write_text(yaml.safe_dump_all([*others, workload]), "utf-8")
    code, faults = validate(path)
    assert code != 0
    assert field in faults


def test_the_deployment_selects_its_own_pods(folder):
    """The deployment's selector matches the labels of its pods, and its service account is in the same file."""
    account, deployment = yaml.safe_load_all((folder / "publisher.yaml").read_text("utf-8"))
    template = deployment["spec"]["template"]
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert template["spec"]["serviceAccountName"] == account["metadata"]["name"]


def test_a_container_has_no_privileges_and_mounts_what_it_reads(manifest, root):
    """Each container runs as the image's user and without privileges. The certificates that it reads are mounted."""
    spec = pod(manifest)
    (container,) = spec["containers"]
    (user,) = re.findall(r"^USER (\d+)$", (root / "Dockerfile").read_text("utf-8"), re.MULTILINE)
    assert container["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": int(user),
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    mounts = {each["mountPath"]: each["name"] for each in container["volumeMounts"]}
    assert set(mounts.values()) == {each["name"] for each in spec["volumes"]}
    (variable,) = container["env"]
    assert (variable["name"], variable["value"].rpartition("/")[0] in mounts) == ("PGSSLROOTCERT", True)


VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"),
}
"""The kinds of volumes that Kubernetes' Pod Security standard "restricted" allows."""


def refused(spec):
    """Return the rules of Kubernetes' Pod Security standard "restricted" that a pod breaks.

    The standard says what a field may be. A field of the container overrides the field of the pod.
    """
    broken = {name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)}
    broken |= {kind for one in spec.get("volumes", []) for kind in one.keys() - {"name"} - VOLUMES}
    of_pod = spec.get("securityContext", {})
    for one in spec["containers"] + spec.get("initContainers", []) + spec.get("ephemeralContainers", []):
        own = of_pod | one.get("securityContext", {})
        capabilities = own.get("capabilities", {})
        broken |= {
            name
            for name, fine in {
                "privileged": not own.get("privileged"),
                "allowPrivilegeEscalation": own.get("allowPrivilegeEscalation") is False,
                "runAsNonRoot": own.get("runAsNonRoot") is True,
                "runAsUser": own.get("runAsUser") != 0,
                "seccompProfile": own.get("seccompProfile", {}).get("type") in {"RuntimeDefault", "Localhost"},
                "appArmorProfile": own.get("appArmorProfile", {}).get("type") != "Unconfined",
                "drop": "ALL" in capabilities.get("drop", []),
                "add": set(capabilities.get("add", [])) <= {"NET_BIND_SERVICE"},
                "procMount": own.get("procMount", "Default") == "Default",
                "seLinuxOptions": "seLinuxOptions" not in own,
                "sysctls": "sysctls" not in own,
                "windowsOptions": "windowsOptions" not in own,
                "hostPort": not any(port.get("hostPort") for port in one.get("ports", [])),
            }.items()
            if not fine
        }
    return broken


def test_a_namespace_with_the_restricted_standard_accepts_each_pod(manifest):
    """Each pod follows Kubernetes' Pod Security standard "restricted"."""
    assert refused(pod(manifest)) == set()


@pytest.mark.parametrize(
    ("changed", "broken"),
    [
        ({"seccompProfile": {}}, "seccompProfile"),
        ({"seccompProfile": {"type": "Unconfined"}}, "seccompProfile"),
        ({"runAsNonRoot": False}, "runAsNonRoot"),
        ({"runAsUser": 0}, "runAsUser"),
        ({"allowPrivilegeEscalation": True}, "allowPrivilegeEscalation"),
        ({"privileged": True}, "privileged"),
        ({"capabilities": {}}, "drop"),
        ({"capabilities": {"drop": ["ALL"], "add": ["NET_ADMIN"]}}, "add"),
        ({"appArmorProfile": {"type": "Unconfined"}}, "appArmorProfile"),
        ({"procMount": "Unmasked"}, "procMount"),
    ],
)
def test_the_restricted_standard_refuses_a_weaker_container(folder, changed, broken):
    """The check of the standard notices each field of a container that is weaker than the standard."""
    spec = pod(folder / "cleanup.yaml")
    (container,) = spec["containers"]
    container["securityContext"] |= changed
    assert refused(spec) == {broken}


@pytest.mark.parametrize(
    ("changed", "broken"),
    [({"hostNetwork": True}, "hostNetwork"), ({"volumes": [{"name": "x", "hostPath": {"path": "/"}}]}, "hostPath")],
)
def test_the_restricted_standard_refuses_a_pod_that_reaches_its_node(folder, changed, broken):
    """The check of the standard notices a pod that uses its node's network or files."""
    assert refused(pod(folder / "cleanup.yaml") | changed) == {broken}


def test_the_liveness_probe_reads_the_publisher_s_health_file(folder):
    """The liveness probe reads the file that the publisher writes."""
    (container,) = pod(folder / "publisher.yaml")["containers"]
    file = container["args"][container["args"].index("--health-file") + 1]
    assert f"find {file} " in container["livenessProbe"]["exec"]["command"][-1]


def test_the_page_names_each_manifest_with_its_secret_and_role(root, folder):
    """docs/how-to/container.md has a row for each manifest, with its secret and a database role that exists."""
    page = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z-]+\.yaml)` \| .* \| (.*) \|$", page, re.MULTILINE))
    assert rows.keys() == set(MANIFESTS)
    roles = (root / "docs" / "how-to" / "database-roles.md").read_text("utf-8")
    for name, words in rows.items():
        secret, role = re.findall(r"`([a-z_-]+)`", words)
        (container,) = pod(folder / name)["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": secret}}]
        assert f"CREATE ROLE {role} LOGIN;" in roles


def test_the_page_names_each_file_that_its_commands_read(root):
    """docs/how-to/container.md names each local file before the command that reads the file."""
    page = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    read = list(re.finditer(r"(?:file://|--(?:from-)?env-file[= ])(\w+\.\w+)", page.partition("## On Kubernetes")[2]))
    assert {one[1] for one in read} == {"publisher.env", "cleanup.env", "reconciler.env", "kafka.json"}
    before = {one[1]: one.string[: one.start()] for one in reversed(read)}
    assert [name for name, text in before.items() if f"`{name}`" not in text] == []


def test_config_validate_finds_quotes_in_the_file_of_a_secret(root, payctl_path, tmp_path):
    """The page's check accepts the variables of `publisher.env`, and refuses a value in quotes."""
    page = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    (row,) = re.findall(r"^ +\| `publisher\.env` \| `payctl-publisher` \| (.*) \|$", page, re.MULTILINE)
    assert re.search(r"^ +docker run --rm --env-file publisher\.env payctl config validate$", page, re.MULTILINE)
    values = {
        "ENVIRONMENT": "prod",
        "DATABASE_URL": "postgresql://payctl_publisher:secret@db.example:5432/payments",
        "KAFKA_BROKERS": "kafka.example:9094",
    }
    given = [re.match("(.*?)(?:=(.*))?$", one).groups() for one in re.findall("`([A-Z_]+(?:=[^`]+)?)`", row)]
    environ = {name: value or values[name] for name, value in given} | {"KAFKA_SSL": "true"}

    def validate(**changed):
        own = {"PATH": payctl_path, "HOME": str(tmp_path), **environ, **changed}
        command = ["payctl", "config", "validate"]
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False, timeout=50)
        return done.returncode, done.stdout

    assert validate()[0] == 0
    code, shown = validate(DATABASE_URL=f'"{values["DATABASE_URL"]}"')
    assert (code, "DATABASE_URL begins with a quote" in shown) == (3, True)


@pytest.mark.parametrize("name", ["cleanup", "reconciler"])
def test_config_validate_accepts_the_file_of_a_job_without_brokers(root, payctl_path, tmp_path, name):
    """The page's check of a job's file succeeds without brokers, and refuses a value in quotes."""
    page = (root / "docs" / "how-to" / "container.md").read_text("utf-8")
    (options,) = re.findall(
        rf"^ +docker run --rm --env-file {name}\.env payctl config validate (.*)$", page, re.MULTILINE
    )
    url = f"postgresql://payctl_{name}:secret@db.example:5432/payments"
    keys = {"ZALOPAY_APP_ID": "1", "ZALOPAY_KEY1": "x"} if name == "reconciler" else {"OUTBOX_RETENTION_DAYS": "7"}
    own = {"PATH": payctl_path, "HOME": str(tmp_path), "ENVIRONMENT": "prod", "PGSSLMODE": "verify-full", **keys}

    def validate(url):
        command = ["/usr/bin/env", "payctl", "config", "validate", *options.split()]
        environ = {**own, "DATABASE_URL": url}
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=50)
        return done.returncode, done.stderr

    assert validate(url) == (0, "")
    assert validate(f'"{url}"')[0] == 3


def test_the_repair_job_has_the_limits_of_the_function(folder, template):
    """The job asks about as many payments as the Lambda function, and has the same time limits and the same cap."""
    (container,) = pod(folder / "reconcile-payments.yaml")["containers"]
    given = dict(word.removeprefix("--").split("=") for word in container["args"] if "=" in word)
    budget = template["Resources"]["ReconcilePaymentsFunction"]["Properties"]["Timeout"] - RESERVE_SECONDS
    limits = UnattendedOptions(template["Parameters"]["ReconcileMaxPayments"]["Default"], timedelta(seconds=budget))
    assert {name: given[name] for name in ("limit", "deadline", "timeout", "max-affected")} == {
        "limit": str(limits.most_asked),
        "deadline": f"{limits.asking.total_seconds():.0f}s",
        "timeout": f"{limits.timeout.total_seconds():.0f}s",
        "max-affected": str(limits.most_settled),
    }


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_command_of_a_manifest_exists(folder, payctl_path, name):
    """The command and each option in a manifest exist in payctl."""
    (container,) = pod(folder / name)["containers"]
    environ = {"PATH": payctl_path}

    def shown(*words):
        done = subprocess.run(
            ["/usr/bin/env", "payctl", *words], env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    help_text = shown(*container["args"], "--help") + shown("help", "options")
    assert [
        word for word in container["args"] if word.startswith("--") and word.partition("=")[0] not in help_text
    ] == []
