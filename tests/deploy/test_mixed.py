"""Test that `make deploy` refuses values that belong to another environment, account, region or function."""

from __future__ import annotations

import re

import pytest

from deploy.configuration import overrides, sections
from deploy.mixed import mixed

CONFIG = "deploy/samconfig.toml"
ALLOW = "--allow-mixed"
EARLIER = ("--bucket", "shop-builds", "--release", "a" * 64)


def secret(name, account="444455556666", region="ap-southeast-1"):
    """Return the ARN of a secret."""
    return f"arn:aws:secretsmanager:{region}:{account}:secret:{name}-AbCdEf"


CLUSTER = "arn:aws:kafka:ap-southeast-1:{}:cluster/{}/279c0212-d057-4dba-9aa9-1c4e5a25bfc7-3"
BROKER = "KafkaBrokers=b-1.{}.a1b2c3.c2.kafka.{}.amazonaws.com:9098"


@pytest.fixture
def shop(checkout):
    """Return a checkout with real names, and with a build and parameters for RDS without a proxy."""
    checkout.name_real_resources()
    trust_rds(checkout)
    return checkout


def trust_rds(checkout):
    """Add the RDS certificates to the build and to each section. Without them, each deployment prints a warning."""
    checkout.build(183, "payctl-ca.pem")
    for environment in ("dev", "staging", "prod"):
        checkout.configure(environment, "DatabaseCaFile=/opt/payctl-ca.pem")


def set_in(checkout, environment, name, value):
    """Set the stack's name, the region or the tags in a section of the configuration."""
    path = checkout.folder / CONFIG
    before, header, after = path.read_text("utf-8").partition(f"[{environment}.global.parameters]")
    path.write_text(before + header + re.sub(f"(?m)^{name} = .*$", f"{name} = {value}", after, count=1), "utf-8")


def own_buckets(checkout):
    """Give each section its own bucket."""
    path = checkout.folder / CONFIG
    for environment in ("dev", "staging", "prod"):
        before, header, after = path.read_text("utf-8").partition(f"[{environment}.deploy.parameters]")
        after = after.replace('"shop-builds"', f'"shop-builds-of-{environment}"', 1)
        path.write_text(before + header + after, "utf-8")


@pytest.mark.parametrize(("section", "name", "other"), [("prod", "payctl-dev", "dev"), ("dev", "payctl-prod", "prod")])
@pytest.mark.parametrize("arguments", [(), (ALLOW,), EARLIER])
def test_two_sections_cannot_have_the_same_stack(shop, section, name, other, arguments):
    """`make deploy` refuses the stack's name of another section, because it would replace the other stack."""
    set_in(shop, section, "stack_name", f'"{name}"')
    for environment in (section, other):
        done = shop.deploy(environment, *arguments, "--print")
        assert (done.returncode, done.stdout) == (2, "")
        theirs = other if environment == section else section
        assert f"stack_name is {name} in the section {environment} and in the section {theirs}: " in done.stderr


SHARED = secret("shop/dev/webhook-database")
MIXED = [
    (
        "prod",
        f"GatewaySecretArn={secret('shop/dev/keys')}",
        "GatewaySecretArn names dev (shop/dev/keys-AbCdEf)",
    ),
    ("prod", f"GatewaySecretArn={secret('gateways-staging')}", "GatewaySecretArn names staging"),
    ("dev", f"OutboxDatabaseSecretArn={secret('Prod/outbox')}", "OutboxDatabaseSecretArn names prod"),
    ("dev", f"OutboxDatabaseSecretArn={secret('production_outbox')}", "OutboxDatabaseSecretArn names prod"),
    ("staging", f"WatchDatabaseSecretArn={secret('shop/prd/watch')}", "WatchDatabaseSecretArn names prod"),
    (
        "prod",
        "PermissionsBoundaryArn=arn:aws:iam::444455556666:policy/dev/boundary",
        "PermissionsBoundaryArn names dev (policy/dev/boundary)",
    ),
    ("prod", f"KafkaClusterArn={CLUSTER.format(444455556666, 'payments-dev')}", "KafkaClusterArn names dev"),
    ("prod", BROKER.format("payments-dev", "ap-southeast-1"), "KafkaBrokers names dev"),
    ("dev", "DomainName=pay.prod.shop.vn", "DomainName names prod (pay.prod.shop.vn)"),
    (
        "dev",
        f"GatewaySecretArn={secret('shop/dev/gateways', account='777788889999')}",
        "GatewaySecretArn names account 777788889999, but the other ARNs name account 444455556666",
    ),
    (
        "dev",
        "PermissionsBoundaryArn=arn:aws:iam::777788889999:policy/boundary",
        "PermissionsBoundaryArn names account 777788889999",
    ),
    (
        "dev",
        f"OutboxDatabaseSecretArn={secret('shop/dev/webhook-database')}",
        "WebhookDatabaseSecretArn and OutboxDatabaseSecretArn name the same secret",
    ),
    (
        "dev",
        f"CleanupDatabaseSecretArn={secret('shop/dev/gateways')}",
        "CleanupDatabaseSecretArn and GatewaySecretArn name the same secret",
    ),
    (
        "dev",
        f"KafkaSecretArn={secret('shop/dev/watch-database')}",
        "WatchDatabaseSecretArn and KafkaSecretArn name the same secret",
    ),
]


@pytest.fixture(scope="module")
def known(root, tmp_path_factory):
    """Return the sections of the configuration in the repository, as if the examples were replaced."""
    text = (root / CONFIG).read_text("utf-8").replace("example", "shop").replace("111122223333", "444455556666")
    path = tmp_path_factory.mktemp("configuration") / "samconfig.toml"
    path.write_text(text, "utf-8")
    return sections(path)


def found(known, environment, *entries):
    """Return what the check says about a section with these entries."""
    return mixed(known, environment, overrides(known[environment]) | dict(each.split("=", 1) for each in entries))


@pytest.mark.parametrize(("environment", "entry", "words"), MIXED)
def test_a_mixed_value_is_found(known, environment, entry, words):
    """The check finds a value of another environment, account or function, and nothing else."""
    certificate = "CertificateArn=arn:aws:acm:ap-southeast-1:444455556666:certificate/1a"
    (sentence,) = found(known, environment, entry, certificate)
    assert sentence.startswith(words)


@pytest.mark.parametrize(
    ("environment", "entry", "words"),
    [MIXED[0], ("dev", f"OutboxDatabaseSecretArn={SHARED}", "WebhookDatabaseSecretArn")],
)
def test_a_mixed_value_is_refused_unless_it_is_allowed(shop, environment, entry, words):
    """`make deploy` refuses a value of another environment, account or function. With the option, it only warns."""
    shop.configure(environment, entry)
    done = shop.deploy(environment, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"cannot deploy: {words}")
    assert done.stderr.endswith("; if this is what you want, add ARGS=--allow-mixed\n")
    allowed = shop.deploy(environment, ALLOW, "--print")
    assert allowed.returncode == 0
    assert allowed.stderr.startswith(f"warning: {words}")


@pytest.mark.parametrize(
    ("environment", "name", "value", "words"),
    [
        ("prod", "stack_name", '"payctl-staging-2"', "stack_name names staging (payctl-staging-2)"),
        ("dev", "stack_name", '"Prod-payctl"', "stack_name names prod (Prod-payctl)"),
        ("prod", "tags", '["service=payctl", "environment=dev"]', "tags names dev (service=payctl environment=dev)"),
    ],
)
def test_a_setting_of_another_environment_is_refused(shop, environment, name, value, words):
    """`make deploy` refuses a stack's name or a tag that contains the name of another environment."""
    set_in(shop, environment, name, value)
    done = shop.deploy(environment, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("stack_name", '"payctl-staging-2"', "stack_name names staging (payctl-staging-2)"),
        ("tags", '["service=payctl", "environment=dev"]', "tags names dev (service=payctl environment=dev)"),
    ],
)
def test_an_earlier_release_is_not_deployed_with_a_setting_of_another_environment(shop, name, value, words):
    """`make deploy RELEASE=...` checks the stack's name and the tags, because the release does not contain them."""
    set_in(shop, "prod", name, value)
    done = shop.deploy("prod", *EARLIER, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert shop.deploy("prod", *EARLIER, ALLOW, "--print").returncode == 0


@pytest.mark.parametrize(
    "entries",
    [
        [f"GatewaySecretArn={secret('shop/dev/gateways')}"],
        [f"GatewaySecretArn={secret('shop/prod/gateways', account='777788889999')}"],
        [f"{name}DatabaseSecretArn={secret('shop/prod/database')}" for name in ("Webhook", "Watch")],
        [BROKER.format("payments-dev", "ap-southeast-1")],
    ],
)
def test_a_mixed_value_does_not_prevent_a_rollback(shop, entries):
    """`make deploy RELEASE=...` only warns about another environment's value, because a release has its own values."""
    before = shop.planned("prod", *EARLIER)
    shop.configure("prod", *entries)
    assert shop.deploy("prod", "--print").returncode == 2
    done = shop.deploy("prod", *EARLIER, "--print")
    assert done.returncode == 0, done.stderr
    warnings = done.stderr.splitlines()
    assert {line.partition(":")[0] for line in warnings} == {"warning"}
    assert entries[0].partition("=")[0] in warnings[0]
    assert {line.rpartition("; ")[2] for line in warnings} == {"the earlier release has its own value"}
    assert shop.planned("prod", *EARLIER) == before


def test_production_cannot_read_a_secret_of_another_section(shop):
    """`make deploy` refuses a secret that prod and another section share, even if its name contains no environment."""
    for environment in ("dev", "staging", "prod"):
        shop.configure(environment, f"GatewaySecretArn={secret('shop/gateways')}")
    for environment in ("staging", "prod"):
        done = shop.deploy(environment, "--print")
        assert (done.returncode, done.stdout) == (2, "")
        assert "GatewaySecretArn names the same secret in the sections " in done.stderr
    shop.configure("prod", f"GatewaySecretArn={secret('shop/prod/gateways')}")
    assert shop.deploy("staging", "--print").returncode == 0


SAME_KAFKA = [
    ("prod", "dev", "KafkaBrokers", "b-1.tickets.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com:9098"),
    ("dev", "prod", "KafkaBrokers", "b-1.tickets.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com:9096"),
    ("staging", "prod", "KafkaBrokers", "B-1.tickets.a1b2c3.c2.kafka.ap-southeast-1.amazonaws.com:9098,kafka.vn:9098"),
    ("prod", "staging", "KafkaClusterArn", CLUSTER.format(444455556666, "tickets")),
]


@pytest.mark.parametrize(("environment", "other", "name", "value"), SAME_KAFKA)
def test_production_cannot_share_a_kafka_cluster(known, environment, other, name, value):
    """The check finds a broker or a cluster of production in another section, even if the port differs."""
    theirs = value.replace(":9096", ":9098").lower().partition(",")[0]
    section = known[other]["deploy"]["parameters"] | {"parameter_overrides": [f"{name}={theirs}"]}
    changed = known | {other: known[other] | {"deploy": {"parameters": section}}}
    (sentence,) = found(changed, environment, f"{name}={value}")
    assert sentence.startswith(f"{name} names the same cluster in the sections {environment} and {other} (")


def test_two_sections_without_production_can_share_a_kafka_cluster(shop):
    """`make deploy` accepts a cluster that only dev and staging share."""
    entries = (
        f"KafkaClusterArn={CLUSTER.format(444455556666, 'tickets')}",
        BROKER.format("tickets", "ap-southeast-1"),
    )
    for environment in ("dev", "staging"):
        shop.configure(environment, *entries)
    assert shop.deploy("dev", "--print").returncode == 0
    shop.configure("prod", *entries)
    for environment in ("dev", "prod"):
        done = shop.deploy(environment, "--print")
        assert (done.returncode, done.stdout) == (2, "")
        for name in ("KafkaBrokers", "KafkaClusterArn"):
            assert f"{name} names the same cluster in the sections " in done.stderr
        assert shop.deploy(environment, ALLOW, "--print").returncode == 0


@pytest.mark.parametrize(
    ("host", "cluster", "accepted"),
    [
        ("b-1.shop-prod.a1b2c3.c2", "shop-prod", True),
        ("b-1.shop-prod.a1b2c3.c2", "Shop-Prod", True),
        ("b-12-public.shop-prod.a1b2c3.c10", "shop-prod", True),
        ("b-2.awskafkatutorialclust.bwvs6a.c10", "AWSKafkaTutorialCluster", True),
        ("vpce-1a2b.kafka-link", "shop-prod", True),
        ("b-1.ticketsdev.a1b2c3.c2", "shop-prod", False),
        ("b-1.shop.a1b2c3.c2", "shop-prod", False),
        ("b-1.shop-prod-2.a1b2c3.c2", "shop-prod", False),
        ("b-12-public.ticketsdev.a1b2c3.c10", "ticketsprod", False),
    ],
)
def test_the_brokers_belong_to_the_cluster_of_the_arn(shop, host, cluster, accepted):
    """`make deploy` refuses brokers of a cluster that the ARN does not name. MSK shortens long names in hosts."""
    shop.configure(
        "prod",
        f"KafkaBrokers={host}.kafka.ap-southeast-1.amazonaws.com:9098",
        f"KafkaClusterArn={CLUSTER.format(444455556666, cluster)}",
    )
    own_buckets(shop)
    done = shop.deploy("prod", ALLOW, "--print")
    if accepted:
        assert (done.returncode, done.stderr) == (0, "")
    else:
        assert (done.returncode, done.stdout) == (2, "")
        named = host.split(".")[1]
        assert f"KafkaBrokers names cluster {named}, but KafkaClusterArn names cluster {cluster}\n" in done.stderr


RIGHT = [
    ("prod", f"GatewaySecretArn={secret('dev-team/prod/gateways')}"),
    ("prod", f"GatewaySecretArn={secret('developers/gateways')}"),
    ("prod", f"GatewaySecretArn={secret('products/gateways')}"),
    ("prod", "PermissionsBoundaryArn=arn:aws:iam::aws:policy/PowerUserAccess"),
    ("prod", "KafkaSecretArn="),
    ("dev", "AlarmEmail=prod@shop.vn"),
    ("dev", f"PreviousGatewaySecretArn={secret('shop/dev/gateways')}"),
    ("dev", f"KafkaClusterArn={CLUSTER.format(777788889999, 'shop-dev')}"),
    ("dev", f"GatewaySecretArn={secret('shop/gateways')}"),
]


@pytest.mark.parametrize(("environment", "entry"), RIGHT)
def test_a_value_that_only_looks_mixed_is_not_found(known, environment, entry):
    """The check accepts words such as `developers`, and values that name their own environment and another one."""
    assert found(known, environment, entry) == []


def test_examples_are_not_compared_with_real_values(checkout):
    """While a file is being filled in, `--print` warns only about the examples that are left."""
    trust_rds(checkout)
    checkout.configure("dev", f"GatewaySecretArn={secret('shop/dev/gateways')}")
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stderr.partition(":")[0]) == (
        0,
        "before you deploy, replace the examples in deploy/samconfig.toml",
    )
    assert "warning" not in done.stderr


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            f"KafkaClusterArn={CLUSTER.format(777788889999, 'shop-dev')}",
            "KafkaClusterArn names account 777788889999, but the other ARNs name account 444455556666",
        ),
        (
            "KmsKeyArn=arn:aws:kms:ap-southeast-1:777788889999:key/1234abcd",
            "KmsKeyArn names account 777788889999, but the other ARNs name account 444455556666",
        ),
    ],
)
def test_a_cluster_or_a_key_of_another_account_is_deployed_with_a_warning(shop, entry, words):
    """`make deploy` only warns about a cluster or a key of another account, because accounts can share them."""
    own_buckets(shop)
    shop.configure("dev", entry)
    done = shop.deploy("dev", "--print")
    assert (done.returncode, done.stderr) == (0, f"warning: {words}\n")


def test_brokers_of_another_region_are_refused(shop):
    """`make deploy` refuses MSK brokers that are not in the stack's region."""
    shop.configure("dev", BROKER.format("shopdev", "eu-west-1"))
    done = shop.deploy("dev", ALLOW, "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert "KafkaBrokers names region eu-west-1, but the stack is in ap-southeast-1" in done.stderr
