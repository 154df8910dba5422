"""Check that parameters agree with each other, with their section in ``deploy/samconfig.toml`` and with the build.

CloudFormation cannot make these checks. Without them, the deployment would fail late, or the stack would not work.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from deploy import msk

_MACHINES = {62: "x86_64", 183: "arm64"}
"""The architecture for each value of ``e_machine`` in an ELF header."""


_CHECKED = ("verify-full", "verify-ca")
_PUBLIC_AUTHORITIES = "/etc/pki/tls/certs/ca-bundle.crt"
"""The file with Amazon's public authorities in Lambda's image, which is the template's default."""


def disagreements(parameters: Mapping[str, str], section: str, region: str | None) -> list[str]:
    """Return a sentence for each disagreement.

    Omit a check if one of its parameters is missing from ``parameters``.
    """
    checks = {
        ("Environment",): _other_environment(parameters, section),
        ("SubnetIds",): _one_subnet(parameters),
        ("KafkaBrokers", "KafkaPort"): _other_port(parameters),
        ("KafkaBrokers", "KafkaAuth", "KafkaSsl"): msk.contradictions(parameters),
        ("KafkaSecretArn", "KmsKeyArn"): _no_key(parameters),
        ("KafkaBrokers", "KafkaClusterArn"): msk.other_clusters(parameters),
        ("WebhookProvisioned", "WebhookProvisionedMax", "ReservedWebhook"): _too_few_environments(parameters),
    }
    found = [wrong for names, check in checks.items() if parameters.keys() >= {*names} for wrong in check]
    return [*found, *_other_region(parameters, region)]


def doubts(parameters: Mapping[str, str]) -> list[str]:
    """Return a sentence if the functions probably cannot check the database's certificate.

    No parameter says whether the functions use RDS Proxy. Without it, the file must contain RDS's own authority.
    """
    direct = parameters["KeepConnections"] == "true" and parameters["DatabaseSslMode"] in _CHECKED
    if not direct or parameters["DatabaseCaFile"] != _PUBLIC_AUTHORITIES:
        return []
    sentence = (
        f"DatabaseCaFile is {_PUBLIC_AUTHORITIES}, which fits RDS Proxy, but KeepConnections is true, which fits a"
        " database without a proxy. For RDS without a proxy, build with `make package CA=global-bundle.pem` and set"
        " DatabaseCaFile=/opt/payctl-ca.pem"
    )
    return [sentence]


def _other_environment(parameters: Mapping[str, str], section: str) -> Iterator[str]:
    if parameters["Environment"] != section:
        yield (
            f"Environment is {parameters['Environment']}, but its section of the configuration is {section}: both must"
            " be the same"
        )


def _one_subnet(parameters: Mapping[str, str]) -> Iterator[str]:
    if len(set(parameters["SubnetIds"].split(","))) == 1:
        yield f"SubnetIds is only {parameters['SubnetIds']}, but must name subnets in at least two zones"


def _other_port(parameters: Mapping[str, str]) -> Iterator[str]:
    ports = {int(each.rpartition(":")[2]) for each in parameters["KafkaBrokers"].split(",")}
    if ports != {int(float(parameters["KafkaPort"]))}:
        yield (
            f"KafkaBrokers has port {' and '.join(map(str, sorted(ports)))}, but KafkaPort is"
            f" {parameters['KafkaPort']}: the security group allows only KafkaPort"
        )


def _no_key(parameters: Mapping[str, str]) -> Iterator[str]:
    if ":secret:AmazonMSK_" in parameters["KafkaSecretArn"] and not parameters["KmsKeyArn"]:
        yield (
            "KafkaSecretArn is a secret for Amazon MSK, which has its own KMS key, but KmsKeyArn is empty: set"
            " KmsKeyArn to the ARN of this key"
        )


def _too_few_environments(parameters: Mapping[str, str]) -> Iterator[str]:
    warm, most, reserved = (
        int(float(parameters[name])) for name in ("WebhookProvisioned", "WebhookProvisionedMax", "ReservedWebhook")
    )
    if warm > most:
        yield f"WebhookProvisioned is {warm}, but must be at most WebhookProvisionedMax, which is {most}"
    if warm and reserved and reserved < most:
        yield f"ReservedWebhook is {reserved}, but must be at least WebhookProvisionedMax, which is {most}"


def _other_region(parameters: Mapping[str, str], region: str | None) -> Iterator[str]:
    """Yield a sentence for each ARN or broker of another region. Some ARNs, such as IAM's, do not contain a region."""
    for name, value in parameters.items():
        if name.endswith("Arn") and value and region:
            there = value.split(":")[3]
            if there not in ("", region):
                yield f"{name} names region {there}, but the stack is in {region}"
    if "KafkaBrokers" in parameters and region:
        yield from msk.other_regions(parameters, region)


def architectures_of(layer: Path) -> set[str]:
    """Return the architectures of the native libraries in a zip. A correct build has only one architecture."""
    found = set()
    with zipfile.ZipFile(layer) as archive:
        for name in archive.namelist():
            with archive.open(name) as entry:
                head = entry.read(20)
            if head[:4] == b"\x7fELF":
                found.add(_MACHINES.get(int.from_bytes(head[18:20], "little"), "unknown"))
    return found


def mismatches(layer: Path, parameters: Mapping[str, str]) -> list[str]:
    """Return what the parameters need but the layer lacks: an architecture, certificates or libraries.

    Omit a check if its parameter is missing from ``parameters``.
    """
    wrong, found = [], architectures_of(layer)
    if (wanted := parameters.get("Architecture")) and found - {wanted}:
        built = " and ".join(sorted(found))
        wrong.append(f"the build is for {built}, but Architecture is {wanted}: build with `make package ARCH={wanted}`")
    with zipfile.ZipFile(layer) as archive:
        names = archive.namelist()
    for name in ("DatabaseCaFile", "KafkaCaFile"):
        file = parameters.get(name, "")
        if file.startswith("/opt/") and file.removeprefix("/opt/") not in names:
            wrong.append(f"{name} is {file}, but the build has no such file: build with `make package CA=FILE`")
    traces = parameters.get("Traces", "off")
    if traces != "off" and not any(name.startswith("python/opentelemetry/") for name in names):
        wrong.append(f"Traces is {traces}, but the build has no OpenTelemetry: build with `make package SPANS=1`")
    return wrong
