"""Test that `make deploy` keeps stacks apart, and that a deployment has its own bucket."""

from __future__ import annotations

import pytest

from deploy.neighbours import no_bucket, overlapping_names, shared_bucket

SECRET = "GatewaySecretArn=arn:aws:secretsmanager:ap-southeast-1:{}:secret:shop/gateways-AbCdEf"


def section(stack, bucket=None, account=None):
    """Return a section of the configuration."""
    deploy = {"parameter_overrides": [SECRET.format(account)] if account else []}
    deploy |= {"s3_bucket": bucket} if bucket else {}
    return {"global": {"parameters": {"stack_name": stack}}, "deploy": {"parameters": deploy}}


@pytest.mark.parametrize(
    ("here", "there", "refused"),
    [
        (section("payctl"), section("payctl-prod"), True),
        (section("payctl-prod"), section("payctl"), True),
        (section("payctl", account="444455556666"), section("payctl-prod", account="444455556666"), True),
        (section("payctl", account="444455556666"), section("payctl-prod"), True),
        (section("payctl", account="444455556666"), section("payctl-prod", account="777788889999"), False),
        (section("payctl"), section("payctlprod"), False),
        (section("payctl-dev"), section("payctl-prod"), False),
        (section("payctl"), section("payctl"), False),
    ],
)
def test_no_stack_s_name_begins_with_the_name_of_another(here, there, refused):
    """In one account, the check refuses a stack's name that begins with another stack's name and a hyphen."""
    found = overlapping_names({"dev": here, "prod": there}, "dev")
    assert len(found) == refused
    names = [one["global"]["parameters"]["stack_name"] for one in (here, there)]
    for sentence in found:
        shorter, longer = sorted(names, key=len)
        assert sentence.startswith(f"stack_name is {names[0]} and {names[1]} in the sections dev and prod")
        assert f"the deployment role of {shorter} could change {longer}" in sentence


@pytest.mark.parametrize(
    ("here", "there", "warned"),
    [("builds", "builds", True), ("builds", "others", False), ("example-builds", "example-builds", False)],
)
def test_a_bucket_of_two_sections_is_found(here, there, warned):
    """The check warns about a bucket that two sections share, but not about the example names in the committed file."""
    found = shared_bucket({"dev": section("a", here), "prod": section("b", there)}, "dev")
    assert [each.partition(",")[0] for each in found] == ["s3_bucket is builds in the sections dev and prod"] * warned


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"s3_bucket": "builds"}, None),
        ({}, "s3_bucket is missing in [dev.deploy.parameters]"),
        ({"s3_bucket": "builds", "resolve_s3": True}, "resolve_s3 is set in the section dev: set s3_bucket"),
        ({"resolve_s3": True}, "resolve_s3 is set in the section dev: set s3_bucket"),
        ({"s3_bucket": "builds", "resolve_s3": False}, None),
    ],
)
def test_the_sam_cli_needs_a_bucket_of_the_section(changed, words):
    """The check accepts only a section with `s3_bucket` and without `resolve_s3`."""
    found = no_bucket({"deploy": {"parameters": changed}}, "dev")
    assert len(found) == (words is not None)
    assert all(each.startswith(words) for each in found)


CONFIG = "deploy/samconfig.toml"
ALLOW = "--allow-mixed"


@pytest.mark.parametrize(
    ("before", "after", "words", "allowed"),
    [
        ('"payctl-dev"', '"payctl"', "stack_name is payctl and payctl-prod in the sections dev and prod", 0),
        ('s3_bucket = "shop-builds"', "resolve_s3 = true", "resolve_s3 is set in the section dev", 2),
        ('s3_bucket = "shop-builds"', "# none", "s3_bucket is missing in [dev.deploy.parameters]", 2),
    ],
)
def test_a_deployment_that_reaches_another_stack_is_refused(checkout, before, after, words, allowed):
    """`make deploy` refuses overlapping names and a section without a bucket. `--allow-mixed` allows only the names."""
    checkout.name_real_resources()
    checkout.edit(CONFIG, before, after)
    done = checkout.deploy("dev", "--print")
    assert (done.returncode, done.stdout) == (2, "")
    assert words in done.stderr
    assert checkout.deploy("dev", ALLOW, "--print").returncode == allowed
    assert checkout.deploy("dev", ALLOW, "--bucket", "shop-builds", "--print").returncode == 0


def test_a_bucket_of_two_sections_is_deployed_with_a_warning(checkout):
    """`make deploy` only warns about a bucket that two sections share."""
    checkout.name_real_resources()
    done = checkout.deploy("dev", "--print")
    assert done.returncode == 0
    for other in ("staging", "prod"):
        assert f"warning: s3_bucket is shop-builds in the sections dev and {other}, so " in done.stderr
