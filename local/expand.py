"""The template as SAM expands it: what CloudFormation is given.

    .local/sam-venv/bin/python -m local.expand Canary=Canary10Percent10Minutes < template.yaml > expanded.json

Runs in the environment of the SAM CLI, which brings the translator. Parameters that are not named have their defaults.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from typing import Any

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

# Where the SAM CLI uploads code before the template is expanded.
_CODE = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


class _NoPolicies:
    """Managed policies are named by their ARN here, so that none is looked up."""

    def load(self) -> dict[str, str]:
        """Names to ARNs."""
        return {}


def expand(template: str, parameters: Mapping[str, str]) -> dict[str, Any]:
    """A template's text, and the values of some of its parameters, as what SAM makes of them."""
    os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")
    document = yaml_parse(template)
    for resource in document["Resources"].values():
        if code := _CODE.get(resource["Type"]):
            resource["Properties"][code] = f"s3://code/{resource['Properties'][code]}"
    expanded: dict[str, Any] = transform(document, dict(parameters), _NoPolicies())
    # SAM has no further say in it.
    expanded.pop("Transform", None)
    return expanded


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    given = dict(argument.split("=", 1) for argument in sys.argv[1:])
    json.dump(expand(sys.stdin.read(), given), sys.stdout, indent=1)
