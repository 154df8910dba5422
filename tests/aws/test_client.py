"""Test the region of the AWS clients, and the error if no region is configured."""

from __future__ import annotations

import re

import pytest

from ticketbottle_payctl.aws.client import make_client
from ticketbottle_payctl.errors import ConfigError

REGION = "ap-southeast-1"


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """Remove all AWS configuration from the environment."""
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))


def test_each_variable_that_the_hint_names_sets_the_region(monkeypatch):
    """Each variable that the error's hint names sets the AWS region.

    AWS_REGION works too, although botocore ignores this variable.
    """
    with pytest.raises(ConfigError) as error:
        make_client("secretsmanager")
    named = re.findall(r"[A-Z_]+REGION", error.value.hint)
    assert named == ["AWS_REGION", "AWS_DEFAULT_REGION"]
    for name in named:
        with monkeypatch.context() as patch:
            patch.setenv(name, REGION)
            assert make_client("secretsmanager").meta.region_name == REGION


def test_aws_region_overrides_aws_default_region(monkeypatch):
    """If AWS_REGION and AWS_DEFAULT_REGION are both set, as in Lambda, payctl uses AWS_REGION, like all AWS SDKs."""
    monkeypatch.setenv("AWS_REGION", REGION)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    assert make_client("sqs").meta.region_name == REGION


def test_the_region_of_an_aws_profile_is_used(monkeypatch, tmp_path):
    """The AWS region comes from the AWS configuration file if no variable sets the region."""
    (tmp_path / "config").write_text(f"[default]\nregion = {REGION}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert make_client("sns").meta.region_name == REGION
