"""Test that payctl recognises the ENVIRONMENT values that mean production.

In production, payctl refuses development-only commands.
"""

from __future__ import annotations

import pytest

from ticketbottle_payctl.settings import Settings

PRODUCTION = [
    "prod", "PROD", "Prod", " prod ", "production", "PRODUCTION", "Production", "prd", "live", "LIVE", "prod2",
    "prod-1", "prod-eu", "eu-prod", "vn_production", "prod.vn", "ap-southeast-1/prod", "payments:prod", "ProdEu",
    "euProd", "productionVn", "\uff50\uff52\uff4f\uff44", "PRODUCTION\n", '"production"', "prod,eu",
]  # fmt: skip
OTHERS = [
    "dev", "test", "local", "staging", "stage", "demo", "", "qa", "uat", "product", "products-dev", "reproduction",
    "preprod", "pre-prod", "pre_production", "preProd", "nonprod", "non-prod", "NON_PROD", "not-production", "delivery",
    "alive", "olive",
]  # fmt: skip


@pytest.mark.parametrize("spelled", PRODUCTION)
def test_production_is_recognised_in_every_spelling(spelled):
    """Upper case, digits, a region, separators and full-width letters do not hide a name for production."""
    assert Settings.from_env({"ENVIRONMENT": spelled}).is_production


@pytest.mark.parametrize("spelled", OTHERS)
def test_an_environment_before_production_is_not_production(spelled):
    """A value of ENVIRONMENT that merely contains a name for production does not mean production."""
    assert not Settings.from_env({"ENVIRONMENT": spelled}).is_production


def test_the_default_environment_is_dev():
    """If ENVIRONMENT is not set, the environment is dev and not production, so developers do not need to set it."""
    assert not Settings.from_env({}).is_production
