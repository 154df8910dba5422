"""Log in to Amazon MSK with the AWS identity at hand: a presigned URL as an OAuth token, renewed before it expires.

What the token is: https://github.com/aws/aws-msk-iam-sasl-signer-python, whose steps are followed here with botocore
alone. Signing is local; no AWS service is asked. The token lets its holder connect for 15 minutes: it is a secret.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any
from urllib.parse import quote

from ticketbottle_payctl import __version__
from ticketbottle_payctl.errors import ConfigError

LIFETIME_SECONDS = 900
"""The longest that MSK accepts."""

_SERVICE = "kafka-cluster"
_ACTION = "kafka-cluster:Connect"
_REGION_IN_NAME = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com")

TokenSource = Callable[[str], tuple[str, float]]
"""librdkafka's ``oauth_cb``: given its own setting, answers a token and when it expires, in seconds since 1970."""


def token_source(brokers: str, region: str | None) -> TokenSource:
    """What the client asks for a token each time one is due.

    The brokers' own names tell the region; ``region`` counts where they do not (an alias, a tunnel).

    Raises:
        ConfigError: the msk extra is not installed, the region is unknown, or there is no AWS identity here.
    """
    found = _REGION_IN_NAME.search(brokers)
    where = found.group(1) if found else region
    if not where:
        message = "KAFKA_SASL_MECHANISM is aws-iam, and neither the brokers' names nor AWS_REGION tell the region"
        raise ConfigError(message, hint="set AWS_REGION")
    try:
        auth, request = import_module("botocore.auth"), import_module("botocore.awsrequest")
        session = import_module("botocore.session").Session()
    except ModuleNotFoundError as error:
        message = "KAFKA_SASL_MECHANISM=aws-iam needs the msk extra"
        raise ConfigError(message, hint="pip install 'payctl[msk]'") from error
    credentials = session.get_credentials()
    if credentials is None:
        message = "KAFKA_SASL_MECHANISM is aws-iam, and there are no AWS credentials here"
        raise ConfigError(message, hint="give the process a role, or AWS_PROFILE; `aws sts get-caller-identity` helps")

    def next_token(_setting: str) -> tuple[str, float]:
        expires = float(int(time.time()) + LIFETIME_SECONDS)  # the signature's time has no fractions
        frozen = credentials.get_frozen_credentials()
        unsigned = request.AWSRequest(
            method="GET", url=f"https://kafka.{where}.amazonaws.com/", params={"Action": _ACTION}
        )
        auth.SigV4QueryAuth(frozen, _SERVICE, where, expires=LIFETIME_SECONDS).add_auth(unsigned)
        return _encoded(unsigned), expires

    return next_token


def _encoded(signed: Any) -> str:  # noqa: ANN401 - botocore has no types
    url = f"{signed.url}&User-Agent={quote(f'payctl/{__version__}', safe='')}"
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
