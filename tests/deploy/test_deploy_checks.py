"""Test the checks that `make deploy` runs before it uploads anything."""

from __future__ import annotations

import re

import pytest

CONFIG = "deploy/samconfig.toml"
CA = ("python/module.py", "payctl-ca.pem")
SPANS = ("python/opentelemetry/__init__.py",)
ARN = "arn:aws:secretsmanager:ap-southeast-1:444455556666:secret:a-AbCdEf"
OTHER = ARN.replace("secret:a-", "secret:b-")
BUCKET = ("--bucket", "shop-builds")

WRONG = {
    "KafkaBrokers": "KafkaBrokers is missing",
    "BatchSiez=5": "'BatchSiez' is not a parameter that you can set",
    "Release=0": "'Release' is not a parameter that you can set",
    "WebhookProvisioned 3": "'WebhookProvisioned 3' is not a parameter: write NAME=VALUE without spaces around the =",
    "LogRetentionDays = 7": "'LogRetentionDays = 7' is not a parameter: write NAME=VALUE without spaces around the =",
    " LogRetentionDays=7": "' LogRetentionDays=7' is not a parameter: write NAME=VALUE without spaces around the =",
    "LogRetentionDays=7 ": "'LogRetentionDays=7 ' is not a parameter: write NAME=VALUE without spaces around the =",
    "VpcId=vpc-0a1b2c3d": "VpcId is given twice",
    "Environment=develop": "Environment is not one of dev, staging, prod",
    "LogRetentionDays=8": "LogRetentionDays is not one of 1, 3",
    "Publisher=eks": "Publisher is not one of function, elsewhere",
    f"GatewaySecretArn={ARN[:-7]}": (
        "GatewaySecretArn must be the whole ARN of a secret, which ends with a hyphen and the six characters"
    ),
    "KafkaBrokers=b-1.shop": "KafkaBrokers must be the host:port of each broker",
    "AlarmEmail=nope": "AlarmEmail must be empty or an email address",
    "ReservedProcessor=1": "ReservedProcessor must not be 1",
    "LoopSeconds=90": "LoopSeconds is 90, but must be at most 55",
    "LoopSeconds=-1": "LoopSeconds is -1, but must be at least 0",
    "LoopSeconds=abc": "LoopSeconds is 'abc', but must be a number",
    "LoopSeconds=example": "LoopSeconds is 'example', but must be a number",
    "VpcId=wrong": "VpcId is 'wrong', but must be the id of a VPC: vpc- and 8 or 17 hexadecimal digits (0-9, a-f)",
    "SubnetIds=subnet-0a1b2c3d;subnet-4a1b2c3d": (
        "SubnetIds is 'subnet-0a1b2c3d;subnet-4a1b2c3d', but must be a list of subnet ids, separated by commas, each"
        " with subnet- and 8 or 17 hexadecimal digits (0-9, a-f)"
    ),
    "KafkaSecurityGroupId=kafka": (
        "KafkaSecurityGroupId is 'kafka', but must be the id of a security group: sg- and 8 or 17 hexadecimal digits"
    ),
    "KafkaClusterArn=": "KafkaAuth aws-iam needs KafkaClusterArn",
    "KafkaAuth=plain": "this KafkaAuth needs KafkaSecretArn",
    f"KafkaSecretArn={ARN.replace('secret:a-', 'secret:AmazonMSK_a-')}": (
        "KafkaSecretArn is a secret for Amazon MSK, which has its own KMS key, but KmsKeyArn is empty"
    ),
    "ReconcilePayments=true": "ReconcilePayments needs ReconcileDatabaseSecretArn",
    "DomainName=pay.shop.vn": "DomainName needs CertificateArn",
    "HiddenPath=callbacks-of-the-ticket-shop": "HiddenPath needs DomainName",
    "OpenPaths=false": "OpenPaths=false needs DomainName",
    "DatabaseCaFile=/opt/payctl-ca.pem": "DatabaseCaFile is /opt/payctl-ca.pem, but the build has no such file",
    "KafkaCaFile=/opt/other.pem": "KafkaCaFile is /opt/other.pem, but the build has no such file",
    "Traces=xray-udp": "Traces is xray-udp, but the build has no OpenTelemetry",
}
"""Wrong entries in the configuration for dev, each with its error. A name alone means that the entry is missing."""

PRODUCTION = {
    "ReservedWebhook=0": "in production ReservedWebhook must not be 0",
    "AlarmEmail=": "in production AlarmEmail must not be empty",
    "KafkaSsl=false": "in production KafkaSsl must be true",
    "DatabaseSslMode=prefer": "in production DatabaseSslMode must not be prefer",
}

ELSEWHERE = ARN.replace("ap-southeast-1", "eu-west-1")
DISAGREEING = [
    (("Environment=staging",), "Environment is staging, but its section of the configuration is dev"),
    (("SubnetIds=subnet-0a1b2c3d",), "SubnetIds is only subnet-0a1b2c3d, but must name subnets in at least two zones"),
    (("SubnetIds=subnet-0a1b2c3d,subnet-0a1b2c3d",), "SubnetIds is only subnet-0a1b2c3d,subnet-0a1b2c3d"),
    (("KafkaPort=9096",), "KafkaBrokers has port 9098, but KafkaPort is 9096"),
    (("KafkaBrokers=a.shop.vn:9096",), "KafkaBrokers has port 9096, but KafkaPort is 9098"),
    (("KafkaBrokers=a.shop.vn:9098,b.shop.vn:9096",), "KafkaBrokers has port 9096 and 9098, but KafkaPort is 9098"),
    (
        ("WebhookProvisioned=5", "WebhookProvisionedMax=2"),
        "WebhookProvisioned is 5, but must be at most WebhookProvisionedMax, which is 2",
    ),
    (
        ("WebhookProvisioned=2", "ReservedWebhook=9"),
        "ReservedWebhook is 9, but must be at least WebhookProvisionedMax, which is 10",
    ),
    ((f"GatewaySecretArn={ELSEWHERE}",), "GatewaySecretArn names region eu-west-1, but the stack is in ap-southeast-1"),
]
"""Entries for dev that CloudFormation would accept but that contradict each other, each with the error."""

RIGHT = [
    ("LoopSeconds=55",),
    ("LoopSeconds=0", "PublishScheduleState=DISABLED"),
    ("Publisher=elsewhere",),
    ("VpcId=vpc-0123456789abcdef0", "SubnetIds=subnet-0123456789abcdef0,subnet-0123456789abcdef1"),
    ("KafkaPort=9096", "KafkaBrokers=a.shop.vn:9096,b.shop.vn:9096"),
    ("WebhookProvisioned=2", "WebhookProvisionedMax=2", "ReservedWebhook=2", "ReservedProcessor=2"),
    ("ReservedWebhook=2",),
    ("AlarmEmail=on-call@shop.vn", "DatabaseSslMode=prefer"),
    ("PermissionsBoundaryArn=arn:aws:iam::444455556666:policy/boundary",),
    ("KafkaAuth=plain", f"KafkaSecretArn={ARN}", "KafkaClusterArn=", "KafkaBrokers=a.shop.vn:9098"),
    ("KafkaAuth=none", "KafkaClusterArn=", "KafkaBrokers=a.shop.vn:9098"),
    (
        f"KafkaSecretArn={ARN.replace('secret:a-', 'secret:AmazonMSK_a-')}",
        "KmsKeyArn=arn:aws:kms:ap-southeast-1:444455556666:key/1234abcd",
    ),
    ("DatabaseCaFile=/opt/payctl-ca.pem", "KafkaCaFile=/opt/payctl-ca.pem"),
    ("DatabaseCaFile=/etc/ssl/ca.pem", "Traces=xray-udp"),
    (
        *("ReconcilePayments=true", f"ReconcileDatabaseSecretArn={ARN}", f"ReconcileGatewaySecretArn={OTHER}"),
        "GatewaySecurityGroupId=sg-0a1b2c3d",
    ),
]


def test_the_line_of_the_tutorial_is_a_wrong_parameter(root, checkout):
    """If a reader changes dev's parameters as the tutorial says, `make deploy` stops and names the parameter."""
    page = (root / "docs" / "tutorials" / "first-deployment.md").read_text("utf-8")
    (line, entry) = re.search(r'^```\n( +"(LoopSeconds=.*)",)\n```$', page, re.MULTILINE).groups()
    assert checkout.deploy("dev", "--print").returncode == 0
    checkout.configure("dev", entry)
    assert line in (checkout.folder / "deploy" / "samconfig.toml").read_text("utf-8").splitlines()
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, WRONG[entry] in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("environment", "entries", "words"),
    [("dev", (entry,), words) for entry, words in WRONG.items()]
    + [("prod", (entry,), words) for entry, words in PRODUCTION.items()]
    + [("dev", *each) for each in DISAGREEING],
)
def test_a_wrong_parameter_stops_the_deployment_before_the_upload(checkout, environment, entries, words):
    """`make deploy` names each parameter that is wrong, or that does not match another parameter or the build."""
    checkout.name_real_resources()
    checkout.configure(environment, *entries)
    done = checkout.deploy(environment, *BUCKET, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize("entries", RIGHT)
def test_a_right_parameter_is_deployed(checkout, entries):
    """`make deploy` accepts valid values that are close to invalid ones."""
    checkout.name_real_resources()
    checkout.build(183, *CA, *SPANS)
    checkout.configure("dev", *entries)
    assert set(entries) <= {f"{name}={value}" for name, value in checkout.given("dev").items()}


def test_everything_that_is_wrong_is_named_at_once(checkout):
    """`make deploy` lists every wrong value, broken rule, contradiction, mismatch and example on its own line."""
    checkout.name_real_resources()
    checkout.build(62)
    entries = (
        "LoopSeconds=90",
        "VpcId=wrong",
        "KafkaAuth=plain",
        "KafkaPort=9096",
        "Traces=xray-udp",
        "DomainName=example.vn",
    )
    checkout.configure("dev", *entries)
    assert checkout.deploy("dev").stderr.splitlines() == [
        "cannot deploy:",
        "  DomainName needs CertificateArn",
        "  KafkaAuth is plain, but Amazon MSK accepts only aws-iam, scram-sha-512 and connections without a login",
        "  KafkaBrokers has port 9098, but KafkaPort is 9096: the security group allows only KafkaPort",
        "  LoopSeconds is 90, but must be at most 55",
        "  Traces is xray-udp, but the build has no OpenTelemetry: build with `make package SPANS=1`",
        "  VpcId is 'wrong', but must be the id of a VPC: vpc- and 8 or 17 hexadecimal digits (0-9, a-f)",
        "  replace the examples in deploy/samconfig.toml: DomainName",
        "  the build is for x86_64, but Architecture is arm64: build with `make package ARCH=arm64`",
        "  this KafkaAuth needs KafkaSecretArn",
    ]


@pytest.mark.parametrize(
    ("entries", "faults"),
    [
        (("HiddenPath=callbacks-of-the-ticket-shop",), ["HiddenPath needs DomainName"]),
        (
            ("PreviousHiddenPath=callbacks-of-the-ticket-shop",),
            ["PreviousHiddenPath needs DomainName", "PreviousHiddenPath needs HiddenPath"],
        ),
        (("OpenPaths=false",), ["OpenPaths=false needs DomainName", "OpenPaths=false needs HiddenPath"]),
        (
            ("HiddenPath=callbacks-of-the-ticket-shop", "OpenPaths=false"),
            ["HiddenPath needs DomainName", "OpenPaths=false needs DomainName"],
        ),
    ],
)
def test_an_error_about_paths_names_only_parameters_that_are_set(checkout, entries, faults):
    """If the parameters of a hidden path are incomplete, each error is about a parameter that is set."""
    checkout.name_real_resources()
    checkout.configure("dev", *entries)
    stderr = checkout.deploy("dev", *BUCKET, "--print").stderr
    assert [line.removeprefix("cannot deploy:").strip() for line in stderr.splitlines() if "needs" in line] == faults


DOUBT = "warning: DatabaseCaFile is /etc/pki/tls/certs/ca-bundle.crt, which fits RDS Proxy"


@pytest.mark.parametrize(
    ("entries", "warned"),
    [
        ((), True),
        (("DatabaseSslMode=verify-ca",), True),
        (("DatabaseSslMode=require",), False),
        (("KeepConnections=false",), False),
        (("DatabaseCaFile=/opt/payctl-ca.pem",), False),
    ],
)
def test_certificates_that_fit_only_a_proxy_give_a_warning(checkout, entries, warned):
    """`make deploy` warns if functions without RDS Proxy lack the RDS certificates, but deploys."""
    checkout.name_real_resources()
    checkout.build(183, *CA)
    checkout.configure("dev", *entries)
    done = checkout.deploy("dev", *BUCKET, "--print")
    assert (done.returncode, DOUBT in done.stderr) == (0, warned)
    assert "build with `make package CA=global-bundle.pem`" in done.stderr or not warned


def test_a_rule_about_a_wrong_value_gives_no_second_error(checkout):
    """If a value is wrong, `make deploy` does not also complain about the rules and checks that use this value."""
    checkout.name_real_resources()
    checkout.configure("dev", "KafkaAuth=iam", "KafkaClusterArn=", "KafkaPort=0")
    lines = checkout.deploy("dev").stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["cannot", "KafkaAuth", "KafkaPort"]


@pytest.mark.parametrize("arguments", [(), BUCKET])
def test_the_examples_of_the_configuration_are_not_deployed(checkout, arguments):
    """`make deploy` refuses the repository's unchanged samconfig.toml. `--print` prints the commands and a warning."""
    done = checkout.deploy("dev", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cannot deploy: replace the examples in deploy/samconfig.toml: VpcId, SubnetIds, ")
    assert ("s3_bucket" in done.stderr) is not bool(arguments)  # without SAM, the bucket is an argument
    printed = checkout.deploy("dev", *arguments, "--print")
    assert (printed.returncode, printed.stderr.partition(":")[0]) == (
        0,
        "before you deploy, replace the examples in deploy/samconfig.toml",
    )


def test_nothing_is_deployed_without_a_build(checkout):
    """Without a build, `make deploy` deploys nothing.

    The error names the missing zip and the command that builds it.
    """
    checkout.name_real_resources()
    (checkout.folder / "build" / "package" / "code.zip").unlink()
    done = checkout.deploy("dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "cannot deploy: build/package/code.zip does not exist: run `make package` first\n"


@pytest.mark.parametrize(("machine", "name"), [(62, "x86_64"), (40, "unknown")])
def test_a_build_for_another_architecture_is_not_deployed(checkout, machine, name):
    """`make deploy` refuses a build for another architecture, because the function would fail to import its drivers."""
    checkout.build(machine)
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"the build is for {name}, but Architecture is arm64" in done.stderr
    checkout.configure("dev", f"Architecture={name}")
    assert checkout.deploy("dev", "--print").returncode == (0 if name == "x86_64" else 2)


def test_a_configuration_that_is_no_toml_gives_an_error_without_a_traceback(checkout):
    """If the configuration cannot be parsed, the error from `make deploy` names the line."""
    checkout.edit(CONFIG, 'stack_name = "payctl-dev"', "stack_name = payctl-dev")
    done = checkout.deploy("dev")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("cannot deploy: deploy/samconfig.toml is not TOML: Invalid value (at line ")


def test_each_parameter_is_printed_on_its_own_line(checkout):
    """With `--print`, `make deploy` prints the release, and each parameter on its own line, for both tools."""
    for arguments in ((), BUCKET):
        done = checkout.deploy("dev", *arguments, "--print")
        lines = done.stdout.splitlines()
        assert lines[0].startswith("# release ")
        parameters = [line.strip(" '").partition("=")[0] for line in lines if line.startswith("  ")]
        assert {"Environment", "LoopSeconds", "KafkaBrokers"} <= set(parameters)
        assert len(parameters) == len(set(parameters))
