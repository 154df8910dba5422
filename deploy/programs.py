"""Check the programs that a deployment runs, the account of their credentials, and the bucket of an earlier release."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence

from deploy.commands import Command
from deploy.configuration import Config
from deploy.generate import GENERATED

_INSTALL = {
    "sam": (
        "install the AWS SAM CLI, or set BUCKET= to deploy with the AWS CLI"
        " (https://docs.aws.amazon.com/serverless-application-model/latest/developerguide/install-sam-cli.html)"
    ),
    "aws": (
        "install version 2 of the AWS CLI"
        " (https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html)"
    ),
}


_NO_CREDENTIALS = "Unable to locate credentials"
_NOT_CONFIGURED = 253
"""The exit code of version 2 of the AWS CLI if its configuration or its credentials are missing."""
_NOTHING_LISTED = 1
"""The exit code of ``aws s3 ls`` if no object matches. After an error, the exit code is higher."""


class NotReadyError(Exception):
    """The deployment needs a program or AWS credentials that are missing. The message says what to do."""


def require(commands: Sequence[Command]) -> None:
    """Check that each command's program is installed.

    Raises:
        NotReadyError: a program is not on the PATH.
    """
    for name in dict.fromkeys(command[0] for command in commands):
        if shutil.which(name) is None:
            message = f"`{name}` is not on the PATH: {_INSTALL[name]}"
            raise NotReadyError(message)


def account_in_use(config: Config, *, sam: bool) -> str | None:
    """Return the account of the AWS credentials, or None if the AWS CLI is missing or AWS does not answer.

    Only the SAM CLI reads ``profile`` from the configuration.

    Raises:
        NotReadyError: the AWS CLI has no credentials.
    """
    if shutil.which("aws") is None:
        return None
    settings = config["global"]["parameters"] | config["deploy"]["parameters"]
    profile = ["--profile", settings["profile"]] if sam and "profile" in settings else []
    command = ["aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text"]
    limits = ["--cli-connect-timeout", "10", "--cli-read-timeout", "10"]
    region = ["--region", config["global"]["parameters"]["region"]]
    done = subprocess.run(  # noqa: S603 - our own command
        [*command, *region, *profile, *limits], capture_output=True, text=True, check=False
    )
    sys.stderr.write(done.stderr)
    if done.returncode == _NOT_CONFIGURED or (done.returncode and _NO_CREDENTIALS in done.stderr):
        message = "the AWS CLI has no credentials: set AWS_PROFILE, or log in with `aws sso login` or `aws configure`"
        raise NotReadyError(message)
    said = done.stdout.strip()
    return said if done.returncode == 0 and said.isdigit() else None


def is_missing(config: Config, release: str, bucket: str) -> bool:
    """Return whether the bucket certainly does not contain the release. If AWS gives no answer, return False."""
    template = f"s3://{bucket}/{release}/{GENERATED.name}"
    command = ["aws", "s3", "ls", template, "--region", config["global"]["parameters"]["region"]]
    done = subprocess.run(command, capture_output=True, check=False)  # noqa: S603 - our own command
    return done.returncode == _NOTHING_LISTED
