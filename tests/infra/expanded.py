"""The template as SAM expands it for a deployment in steps."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from typing import Any

from local.environments import ROOT, SAM
from tests.infra.cloudformation import TEMPLATE

# Any that is not none: what the others make of it differs in times only.
CANARY = "Canary10Percent10Minutes"


@cache
def expanded(canary: str = CANARY, template: str = "") -> dict[str, Any]:
    """Read only. ``template``: another text than that of the repository."""
    assert SAM.python.exists(), "the environment of the SAM CLI is not there: make env-all"
    run = subprocess.run(
        [str(SAM.python), "-m", "local.expand", f"Canary={canary}"],
        cwd=ROOT,
        input=template or TEMPLATE.read_text(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    loaded: dict[str, Any] = json.loads(run.stdout)
    return loaded
