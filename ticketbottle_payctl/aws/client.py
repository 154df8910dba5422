"""Create AWS clients with short timeouts, so that a function can continue even if an AWS service does not answer."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ticketbottle_payctl.errors import ConfigError, UnavailableError

_CONFIGURED = frozenset(
    {
        "AccessDeniedException", "AuthorizationError", "AccessDenied", "DecryptionFailure", "ExpiredTokenException",
        "InvalidClientTokenId", "InvalidParameter", "InvalidParameterException", "InvalidRequestException", "NotFound",
        "ResourceNotFoundException", "UnrecognizedClientException", "ValidationException",
        "AWS.SimpleQueueService.NonExistentQueue", "QueueDoesNotExist",
    }
)  # fmt: skip


def make_client(service: str, *, connect_s: float = 2, read_s: float = 3, tries: int = 2) -> Any:  # noqa: ANN401 - botocore has no types
    """Return a client for one AWS service, with the function's credentials.

    The region comes from AWS_REGION, AWS_DEFAULT_REGION or the AWS profile. AWS_ENDPOINT_URL can set another endpoint.

    Raises:
        ConfigError: botocore is not installed, or the region is not set.
    """
    try:
        config, session = import_module("botocore.config"), import_module("botocore.session")
    except ModuleNotFoundError as error:
        message = f"a request to AWS ({service}) needs the aws extra"
        raise ConfigError(message, hint="pip install 'payctl[aws]'; on Lambda the runtime includes it") from error
    retries = {"total_max_attempts": tries, "mode": "standard"}
    limits = config.Config(connect_timeout=connect_s, read_timeout=read_s, retries=retries)
    try:
        # botocore itself does not read AWS_REGION, the variable that Lambda and the other SDKs use.
        return session.Session().create_client(service, region_name=os.environ.get("AWS_REGION") or None, config=limits)
    except Exception as error:
        message = f"the AWS client for {service} cannot be created: {type(error).__name__}"
        raise ConfigError(message, hint="set AWS_REGION or AWS_DEFAULT_REGION") from error


def translated(error: Exception, what: str) -> ConfigError | UnavailableError:
    """Translate botocore's error into a ConfigError if AWS refused the request.

    Otherwise return an UnavailableError.
    """
    response = getattr(error, "response", None)
    code = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    message = f"{what}: {code or type(error).__name__}"
    if code in _CONFIGURED or type(error).__name__ == "NoCredentialsError":
        return ConfigError(message, hint="check the ARN or address, and the role's permissions")
    return UnavailableError(message, hint="check the VPC endpoint and its security group, then try again")
