"""Log in to Amazon MSK with the process's AWS credentials.

The OAuth token is a presigned URL, which is renewed before it expires. The code follows the steps of
https://github.com/aws/aws-msk-iam-sasl-signer-python, but needs only botocore. The token is signed locally, without a
request to AWS. The token is a secret, because anyone who has it can connect for 15 minutes.
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
"""The longest token lifetime that MSK accepts, in seconds."""

_SERVICE = "kafka-cluster"
_ACTION = "kafka-cluster:Connect"
_REGION_IN_NAME = re.compile(r"\.kafka(?:-serverless)?\.([a-z0-9-]+)\.amazonaws\.com")

TokenSource = Callable[[str], tuple[str, float]]
"""The type of librdkafka's ``oauth_cb``, which returns a token and its expiry time in seconds since 1970."""


def token_source(brokers: str, region: str | None) -> TokenSource:
    """Return the function that creates the client's next token. The region comes from the brokers' host names.

    If they do not contain a region, as with an alias or a tunnel, ``region`` is used.

    Raises:
        ConfigError: the msk extra is not installed, the region is unknown, or the AWS credentials are missing or cannot
            be read.
    """
    found = _REGION_IN_NAME.search(brokers)
    where = found.group(1) if found else region
    if not where:
        message = "KAFKA_SASL_MECHANISM is aws-iam, but AWS_REGION is not set and the brokers' names contain no region"
        raise ConfigError(message, hint="set AWS_REGION or AWS_DEFAULT_REGION")
    try:
        auth, request = import_module("botocore.auth"), import_module("botocore.awsrequest")
        session, errors = import_module("botocore.session").Session(), import_module("botocore.exceptions")
    except ModuleNotFoundError as error:
        message = "KAFKA_SASL_MECHANISM=aws-iam needs the msk extra"
        hint = "in your clone of payctl: pip install --require-hashes -r locks/msk.txt"
        raise ConfigError(message, hint=hint) from error
    try:
        credentials = session.get_credentials()
    except errors.BotoCoreError as error:
        message = f"KAFKA_SASL_MECHANISM is aws-iam, but the AWS credentials cannot be read: {type(error).__name__}"
        raise ConfigError(message, hint="check AWS_PROFILE and AWS_CONFIG_FILE") from error
    if credentials is None:
        message = "KAFKA_SASL_MECHANISM is aws-iam, but no AWS credentials were found"
        raise ConfigError(
            message,
            hint="give the process a role or set AWS_PROFILE; `aws sts get-caller-identity` shows the identity in use",
        )

    def next_token(_setting: str) -> tuple[str, float]:
        expires = float(int(time.time()) + LIFETIME_SECONDS)  # the signature's time has whole seconds
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
