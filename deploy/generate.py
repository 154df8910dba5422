"""Generate the alarms and the dashboard in the template, and convert the template from SAM to CloudFormation.

    python -m deploy.generate            write deploy/template.yaml (below its mark) and deploy/cloudformation.json
    python -m deploy.generate --check    write nothing; exit 1 if something would change

This does not need a connection to AWS, because AWS's own library converts the template locally.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from pathlib import Path

import yaml
from samtranslator.translator.transform import transform

from deploy.alarms.resources import resources
from deploy.package import CODE, LAYER, Build
from deploy.template import read_template

HERE = Path(__file__).resolve().parent
TEMPLATE, GENERATED = HERE / "template.yaml", HERE / "cloudformation.json"
MARK = "# -- made by `make template`"
NO_RELEASE = "0" * 64
"""The release in the committed template. A deployment replaces it, so that a new version gets traffic."""

NO_BUILD = Build(NO_RELEASE, NO_RELEASE)
PLACE = ("CodeBucket", "CodeKey", "LayerKey")
"""The parameters that say where a build's zips are, if CloudFormation deploys them without SAM."""


class _Yaml(yaml.SafeDumper):
    """A YAML dumper that never writes references, because CloudFormation cannot read them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def template_text(current: str) -> str:
    """Return the template with a newly generated part below its mark."""
    above, mark, below = current.partition(MARK)
    made = yaml.dump(resources(), Dumper=_Yaml, sort_keys=False, width=110)
    return above + mark + below.partition("\n")[0] + "\n" + "".join(f"  {line}\n" for line in made.splitlines())


def cloudformation(template: str, release: str = NO_RELEASE, build: Build = NO_BUILD) -> str:
    """Return the template for this release as JSON for CloudFormation, without SAM.

    Parameters say where the zips are.
    """
    source = read_template(template)
    del source["Parameters"]["Release"], source["Globals"]["Function"]["CodeUri"]
    source["Outputs"]["Release"]["Value"] = release
    descriptions = (
        "The S3 bucket that contains the build of `make package`.",
        f"The S3 key of {CODE}. Each build has its own key.",
        f"The S3 key of {LAYER}. Each build has its own key.",
    )
    for name, description in zip(PLACE, descriptions, strict=True):
        source["Parameters"][name] = {"Type": "String", "Description": description, "MinLength": 1}
    for resource in source["Resources"].values():
        properties = resource.get("Properties", {})
        if resource["Type"] == "AWS::Serverless::Function":
            properties["CodeUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}
            if "AutoPublishAlias" in properties:
                properties["AutoPublishCodeSha256"] = release
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "LayerKey"}}
            # Otherwise SAM gives every build's layer the same logical id.
            properties["Description"] += f" {build.layer}"
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    # SAM requires a region, but the result does not contain it.
    os.environ.setdefault("AWS_DEFAULT_REGION", "ap-southeast-1")
    return json.dumps(transform(source, {}, _NoManagedPolicies()), indent=1, sort_keys=True) + "\n"


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def main() -> int:
    """Write the generated files. With ``--check``, only list the files that are out of date."""
    parser = argparse.ArgumentParser(
        prog="make template", description="Write the files that are generated from deploy/template.yaml."
    )
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    current = TEMPLATE.read_text("utf-8")
    template = template_text(current)
    wanted = {TEMPLATE: template, GENERATED: cloudformation(template)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if given.check:
            sys.stderr.write(f"{path.name} is out of date: run `make template`\n")
        else:
            path.write_text(wanted[path], "utf-8")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
