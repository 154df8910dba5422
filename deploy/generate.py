"""Write what is made from the template: its alarms and dashboard, and the same stack as plain CloudFormation.

    python -m deploy.generate            write deploy/template.yaml (below its mark) and deploy/cloudformation.json
    python -m deploy.generate --check    write nothing; exit 1 if something would change
    python -m deploy.generate --release FOLDER    write the CloudFormation of a build next to its zips

It works without AWS: the transformation is AWS's own library.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import yaml
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

from deploy.alarms import resources
from deploy.package import CODE, LAYER

HERE = Path(__file__).resolve().parent
TEMPLATE, GENERATED = HERE / "template.yaml", HERE / "cloudformation.json"
MARK = "# -- made by `make template`"
NO_RELEASE = "0" * 64
"""The stamp in the committed template. A build has the hash of its zips instead, so that a new version gets traffic."""

Template = dict[str, Any]


class _Yaml(yaml.SafeDumper):
    """A YAML dumper without references, because CloudFormation does not read them."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - PyYAML's signature
        return True


def template_text(current: str) -> str:
    """Return the template with the part below its mark generated again."""
    above, mark, below = current.partition(MARK)
    made = yaml.dump(resources(), Dumper=_Yaml, sort_keys=False, width=110)
    return above + mark + below.partition("\n")[0] + "\n" + "".join(f"  {line}\n" for line in made.splitlines())


def cloudformation(template: str, stamp: str = NO_RELEASE) -> str:
    """Return the template as JSON without SAM. The zips' place is a parameter, and ``stamp`` names the version."""
    source = yaml_parse(template)
    del source["Globals"]["Function"]["CodeUri"]
    for name, description in (
        ("CodeBucket", "The S3 bucket with what `make package` made."),
        ("CodeKey", f"The key of {CODE} there; another one for each build."),
        ("LayerKey", f"The key of {LAYER} there; another one for each build."),
    ):
        source["Parameters"][name] = {"Type": "String", "Description": description, "MinLength": 1}
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "CodeKey"}}
            if "AutoPublishAlias" in resource["Properties"]:
                resource["Properties"]["AutoPublishCodeSha256"] = stamp
        if resource["Type"] == "AWS::Serverless::LayerVersion":
            resource["Properties"]["ContentUri"] = {"Bucket": {"Ref": "CodeBucket"}, "Key": {"Ref": "LayerKey"}}
    logging.getLogger("samtranslator").setLevel(logging.ERROR)
    os.environ.setdefault("AWS_DEFAULT_REGION", "ap-southeast-1")  # it asks for one, and the result has none
    return json.dumps(transform(source, {}, _NoManagedPolicies()), indent=1, sort_keys=True) + "\n"


def stamp_of(folder: Path) -> str:
    """Return the hash of both zips, which identifies a build."""
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in (LAYER, CODE))).hexdigest()


class _NoManagedPolicies:
    def load(self) -> dict[str, str]:
        return {}


def main() -> int:
    """Write or check the generated files, and name those that differ."""
    parser = argparse.ArgumentParser(prog="make template", description="Write what is made from deploy/template.yaml.")
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--release", type=Path)
    given = parser.parse_args()
    current = TEMPLATE.read_text("utf-8")
    if given.release:
        made = cloudformation(current, stamp_of(given.release))
        (given.release / GENERATED.name).write_text(made, "utf-8")
        return 0
    template = template_text(current)
    wanted = {TEMPLATE: template, GENERATED: cloudformation(template)}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    for path in stale:
        if given.check:
            sys.stderr.write(f"{path.name} is not what the template makes: run `make template`\n")
        else:
            path.write_text(wanted[path], "utf-8")
    return int(given.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
