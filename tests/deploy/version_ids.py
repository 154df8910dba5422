"""Print the logical ids of the webhook's version and layer after each change, as AWS's SAM transform computes them.

Run ``python -m tests.deploy.version_ids`` with the Python interpreter that has AWS's library, and with the argument
``sam`` or ``cloudformation``. The result is a JSON object with "versions" and "layers". Each of them contains "before"
and one key for each change.
"""

from __future__ import annotations

import json
import os
import sys

from samtranslator.translator.transform import transform

from deploy.generate import MARK, NO_RELEASE, TEMPLATE, cloudformation
from deploy.package import Build
from deploy.release import release_of
from deploy.template import read_template


class _NoPolicies:
    def load(self):
        return {}


def with_sam(template, parameters, release, build):
    """Return a template that `sam deploy` has packaged, after applying AWS's SAM transform with these parameters."""
    source = read_template(template)
    source["Globals"]["Function"]["CodeUri"] = f"s3://bucket/{build.code}"
    source["Resources"]["DependenciesLayer"]["Properties"]["ContentUri"] = f"s3://bucket/{build.layer}"
    return transform(source, {**parameters, "Release": release}, _NoPolicies())


def with_cloudformation(template, parameters, release, build):  # noqa: ARG001 - the same call for both ways
    """Return the template for a deployment without SAM."""
    return json.loads(cloudformation(template, release, build))


def version_id(made):
    """Return the logical id of the version that the alias points to."""
    (alias,) = (one for one in made["Resources"].values() if one["Type"] == "AWS::Lambda::Alias")
    version = alias["Properties"]["FunctionVersion"]["Fn::GetAtt"][0]
    assert made["Resources"][version]["Type"] == "AWS::Lambda::Version"
    return version


def layer_of(made):
    """Return the layer's logical id and deletion policy."""
    ((name, layer),) = ((n, one) for n, one in made["Resources"].items() if one["Type"] == "AWS::Lambda::LayerVersion")
    return [name, layer["DeletionPolicy"]]


def other(declared, value):
    """Return a parameter value that differs from ``value``."""
    return next((str(each) for each in declared.get("AllowedValues", []) if str(each) != value), f"{value}1")


def main(way):
    """Print the ids of the version and the layer after each change to a parameter, the template or a zip."""
    os.environ["AWS_DEFAULT_REGION"] = "ap-southeast-1"
    template = TEMPLATE.read_text("utf-8").partition(MARK)[0]  # the alarms and the dashboard would slow the transform
    build = Build("c" * 64, "d" * 64)
    declared = {name: one for name, one in read_template(template)["Parameters"].items() if name != "Release"}
    before = {name: str(one.get("Default", one.get("AllowedValues", ["x"])[0])) for name, one in declared.items()}
    changes = {name: (template, before | {name: other(one, before[name])}, build) for name, one in declared.items()}
    changes["(template)"] = (template.replace("MemorySize: 512", "MemorySize: 768"), before, build)
    changes["(code)"] = (template, before, Build("e" * 64, build.layer))
    changes["(layer)"] = (template, before, Build(build.code, "e" * 64))
    assert changes["(template)"][0] != template
    found, layers = {}, {}
    for name, (text, values, zips) in {"before": (template, before, build), **changes}.items():
        release = release_of(zips, text, values)
        assert release != NO_RELEASE
        made = way(text, values, release, zips)
        found[name] = version_id(made)
        layers[name] = layer_of(made)
    print(json.dumps({"versions": found, "layers": layers}))  # noqa: T201 - prints the result


if __name__ == "__main__":
    main({"sam": with_sam, "cloudformation": with_cloudformation}[sys.argv[1]])
