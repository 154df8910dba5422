"""Deploy a build with the template and one environment's parameters from ``deploy/samconfig.toml``.

    python -m deploy.release dev                      with the SAM CLI
    python -m deploy.release dev --bucket BUCKET      with the AWS CLI and plain CloudFormation
    python -m deploy.release dev --print              print the commands and run none of them

The ``live`` alias keeps its version of the webhook until another version is published. A new value of the ``Release``
parameter publishes a new version. This value is a hash of the code, the template and every parameter, so every change
is deployed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from deploy.generate import GENERATED, PLACE, TEMPLATE, cloudformation
from deploy.package import CODE, LAYER, ROOT, Build

CONFIG = ROOT / "deploy" / "samconfig.toml"
PACKAGE = ROOT / "build" / "package"

_MACHINES = {62: "x86_64", 183: "arm64"}
"""The architecture for each value of ``e_machine`` in an ELF header."""

Parameters = dict[str, str]
Command = list[str]


class NotDeployableError(Exception):
    """The build is missing or has the wrong architecture, or a parameter is missing, unknown or not allowed."""


def parameters_of(template: str, given: Sequence[str]) -> Parameters:
    """Return the value of every parameter except ``Release``, from ``Name=value`` strings and the template's defaults.

    The defaults are included, because CloudFormation keeps the deployed value if a deployment does not name a
    parameter. Without the defaults, removing a line from the configuration would have no effect.

    Raises:
        NotDeployableError: a parameter is missing or unknown, or its value is not allowed.
    """
    declared = yaml_parse(template)["Parameters"]
    del declared["Release"]
    values = {name: str(one["Default"]) for name, one in declared.items() if "Default" in one}
    values |= dict(each.split("=", 1) for each in given)
    wrong = [f"{name} is missing" for name in declared.keys() - values.keys()]
    wrong += [f"{name} is not a parameter that you can set" for name in values.keys() - declared.keys()]
    wrong += [fault for name, one in declared.items() if name in values and (fault := _fault(name, one, values[name]))]
    if wrong:
        raise NotDeployableError("; ".join(sorted(wrong)))
    return values


def release_of(build: Build, template: str, parameters: Mapping[str, str]) -> str:
    """Return a hash of the build, the template and the parameters, as 64 hexadecimal digits."""
    parts = {"build": build, "template": template, "parameters": parameters}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def architectures_of(layer: Path) -> set[str]:
    """Return the architectures of the native libraries in a zip. A correct build has only one architecture."""
    found = set()
    with zipfile.ZipFile(layer) as archive:
        for name in archive.namelist():
            with archive.open(name) as entry:
                head = entry.read(20)
            if head[:4] == b"\x7fELF":
                found.add(_MACHINES.get(int.from_bytes(head[18:20], "little"), "unknown"))
    return found


def with_sam(file: Path, environment: str, parameters: Mapping[str, str], release: str) -> list[Command]:
    """Return the SAM CLI command to deploy. The SAM CLI reads all other settings from the configuration file."""
    # The SAM CLI refuses `Name=`, but accepts quotes inside the argument as an empty value.
    given = [f'{name}="{value}"' for name, value in parameters.items()]
    config = ["--config-file", str(file), "--config-env", environment]
    return [["sam", "deploy", *config, "--parameter-overrides", *given, f"Release={release}"]]


def with_cloudformation(
    config: Mapping[str, Any], parameters: Mapping[str, str], release: str, bucket: str
) -> list[Command]:
    """Return the AWS CLI commands that upload the build under its release and then deploy the build's template."""
    folder, place = PACKAGE.relative_to(ROOT), f"s3://{bucket}/{release}/"
    region, deploy = ["--region", config["global"]["parameters"]["region"]], config["deploy"]["parameters"]
    uploads = [["aws", "s3", "cp", str(folder / name), place, *region] for name in (CODE, LAYER, GENERATED.name)]
    where = dict(zip(PLACE, (bucket, f"{release}/{CODE}", f"{release}/{LAYER}"), strict=True))
    stack = ["--stack-name", config["global"]["parameters"]["stack_name"]]
    source = ["--template-file", str(folder / GENERATED.name), "--s3-bucket", bucket, "--s3-prefix", "templates"]
    given = [f"{name}={value}" for name, value in {**parameters, **where}.items()]
    options = ["--capabilities", deploy["capabilities"], "--no-fail-on-empty-changeset", "--tags", *deploy["tags"]]
    command = ["aws", "cloudformation", "deploy", *stack, *source, *region, *options]
    return [*uploads, [*command, "--parameter-overrides", *given]]


def _fault(name: str, declared: Mapping[str, Any], value: str) -> str | None:
    """Return the reason why CloudFormation would refuse a value, or None.

    Values are checked before anything is uploaded.
    """
    if not re.fullmatch(declared.get("AllowedPattern", "(?s:.*)"), value):
        return f"{name} does not match {declared['AllowedPattern']}"
    allowed = [str(each) for each in declared.get("AllowedValues", [value])]
    return None if value in allowed else f"{name} is not one of {', '.join(allowed)}"


def main() -> int:
    """Deploy the build, or print the commands that would deploy it. Return the exit code of a failed command, or 0."""
    parser = argparse.ArgumentParser(prog="make deploy", description="Deploy what `make package` has built.")
    parser.add_argument("environment", help="a section of deploy/samconfig.toml: dev, staging or prod")
    parser.add_argument("--bucket", help="deploy with plain CloudFormation, and upload the build to this S3 bucket")
    parser.add_argument("--print", action="store_true", help="print the commands and run none of them")
    parser.add_argument(
        "--config", type=Path, default=CONFIG.relative_to(ROOT), help="read this file instead of deploy/samconfig.toml"
    )
    asked = parser.parse_args()
    try:
        commands = _planned(asked.environment, asked.bucket, asked.config)
    except (NotDeployableError, FileNotFoundError) as error:
        sys.stderr.write(f"cannot deploy: {error}\n")
        return 2
    for command in commands:
        sys.stdout.write(shlex.join(command) + "\n")
        sys.stdout.flush()
        code = 0 if asked.print else subprocess.run(command, cwd=ROOT, check=False).returncode  # noqa: S603
        if code:
            return code
    return 0


def _planned(environment: str, bucket: str | None, file: Path) -> list[Command]:
    known = tomllib.loads(file.read_text("utf-8"))
    if environment not in known:
        message = f"{file.name} has no section {environment}"
        raise NotDeployableError(message)
    build, template, config = Build.in_folder(PACKAGE), TEMPLATE.read_text("utf-8"), known[environment]
    parameters = parameters_of(template, config["deploy"]["parameters"]["parameter_overrides"])
    found = architectures_of(PACKAGE / LAYER)
    if found - {parameters["Architecture"]}:
        message = f"the build is for {' and '.join(sorted(found))}, but Architecture is {parameters['Architecture']}"
        raise NotDeployableError(message)
    release = release_of(build, template, parameters)
    if bucket is None:
        return with_sam(file, environment, parameters, release)
    (PACKAGE / GENERATED.name).write_text(cloudformation(template, release, build), "utf-8")
    return with_cloudformation(config, parameters, release, bucket)


if __name__ == "__main__":
    sys.exit(main())
