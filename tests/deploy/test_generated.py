"""Test that the files generated from the handwritten template are current."""

from __future__ import annotations

import json
import re


def test_the_generated_template_is_current(generate):
    """The generated files match the output of `make template`."""
    result = generate("--check", AWS_DEFAULT_REGION="eu-central-1")
    assert result.returncode == 0, result.stderr


def test_the_generated_template_is_plain_cloudformation(template):
    """The generated template needs neither the SAM transform nor a permission to use it."""
    assert "Transform" not in template
    assert [one["Type"] for one in template["Resources"].values() if "Serverless" in one["Type"]] == []


def test_every_parameter_and_condition_is_used(template):
    """The template has no unused parameters or conditions."""
    text = json.dumps({part: template[part] for part in ("Conditions", "Resources", "Rules", "Outputs")})
    unused = [name for name in template["Parameters"] if f'"Ref": "{name}"' not in text and f"${{{name}}}" not in text]
    assert unused == []
    resources = json.dumps(template["Resources"])
    assert [name for name in template["Conditions"] if f'"{name}"' not in resources] == []


def test_each_suppressed_finding_has_its_reason(template):
    """Every suppressed linter finding has a written reason."""
    skips = [
        skip
        for resource in template["Resources"].values()
        for skip in resource.get("Metadata", {}).get("checkov", {}).get("skip", [])
    ]
    assert skips
    assert all(re.fullmatch(r"CKV_AWS_\d+", skip["id"]) and len(skip["comment"].split()) > 3 for skip in skips)
