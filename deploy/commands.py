"""Build the commands that deploy a release, with the SAM CLI or with the AWS CLI."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from deploy.configuration import Config
from deploy.generate import GENERATED, PLACE
from deploy.package import CODE, LAYER, ROOT

PACKAGE = ROOT / "build" / "package"
STORED = ROOT / "build" / "release"
"""The folder for a release that is fetched from the bucket."""

PARAMETERS = "parameters.json"
PREVIEW = "--no-execute-changeset"
"""The option that makes a command only create a change set. An operator then confirms the changes."""

Command = list[str]


def with_sam(
    file: Path, environment: str, parameters: Mapping[str, str], release: str, *, confirm: bool = True
) -> list[Command]:
    """Return the SAM CLI command to deploy. The SAM CLI reads all other settings from the configuration file."""
    # The SAM CLI refuses `Name=`, but accepts quotes inside the argument as an empty value.
    given = [f'{name}="{value}"' for name, value in parameters.items()]
    config = ["--config-file", str(file), "--config-env", environment]
    unasked = [] if confirm else ["--no-confirm-changeset"]
    return [["sam", "deploy", *config, *unasked, "--parameter-overrides", *given, f"Release={release}"]]


def with_cloudformation(
    config: Config, parameters: Mapping[str, str], release: str, bucket: str, *, confirm: bool = True
) -> list[Command]:
    """Return the AWS CLI commands that upload the build under its release, and then deploy its template.

    The parameters are uploaded too, so that the release can be deployed again.
    """
    place, region = f"s3://{bucket}/{release}/", _region(config)
    names = (CODE, LAYER, GENERATED.name, PARAMETERS)
    uploads = [["aws", "s3", "cp", _relative(PACKAGE / name), place, *region] for name in names]
    given = [f"{name}={value}" for name, value in located(parameters, release, bucket).items()]
    return [*uploads, *_deploy(config, PACKAGE / GENERATED.name, bucket, given, confirm=confirm)]


def stored(config: Config, release: str, bucket: str, *, confirm: bool = True) -> list[Command]:
    """Return the AWS CLI commands that deploy an earlier release from the bucket, with its own parameters."""
    place, region = f"s3://{bucket}/{release}/", _region(config)
    names = (GENERATED.name, PARAMETERS)
    downloads = [["aws", "s3", "cp", f"{place}{name}", f"{_relative(STORED)}/", *region] for name in names]
    given = [f"file://{_relative(STORED / PARAMETERS)}"]
    return [*downloads, *_deploy(config, STORED / GENERATED.name, bucket, given, confirm=confirm)]


def located(parameters: Mapping[str, str], release: str, bucket: str) -> dict[str, str]:
    """Return the parameters, including those that tell CloudFormation where the zips are if SAM is not used."""
    return {**parameters, **dict(zip(PLACE, (bucket, f"{release}/{CODE}", f"{release}/{LAYER}"), strict=True))}


def as_file(parameters: Mapping[str, str]) -> str:
    """Return the parameters as a JSON file that the AWS CLI accepts for ``--parameter-overrides``."""
    return json.dumps([f"{name}={value}" for name, value in parameters.items()], indent=1) + "\n"


def shown(command: Command) -> str:
    """Return a command for a shell, with one parameter on each line."""
    before, parameters = command, []
    if "--parameter-overrides" in command:
        split = command.index("--parameter-overrides") + 1
        before, parameters = command[:split], command[split:]
    return " \\\n  ".join([shlex.join(before), *map(shlex.quote, parameters)])


def _deploy(config: Config, template: Path, bucket: str, given: Command, *, confirm: bool) -> list[Command]:
    settings = config["deploy"]["parameters"]
    stack = ["--stack-name", config["global"]["parameters"]["stack_name"]]
    source = ["--template-file", _relative(template), "--s3-bucket", bucket, "--s3-prefix", "templates"]
    options = ["--capabilities", settings["capabilities"], "--no-fail-on-empty-changeset", "--tags", *settings["tags"]]
    command = ["aws", "cloudformation", "deploy", *stack, *source, *_region(config), *options]
    overrides = ["--parameter-overrides", *given]
    preview = [[*command, PREVIEW, *overrides]] if confirm and settings.get("confirm_changeset") else []
    return [*preview, [*command, *overrides]]


def _region(config: Config) -> Command:
    return ["--region", config["global"]["parameters"]["region"]]


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))
