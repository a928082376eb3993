"""Amounts are Decimals: where books, prices and answers are made there is no binary number."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "layers/foliostream/python/foliostream"
# What is no amount, with what it is.
OTHERWISE = {
    "domain/analytics.py": "returns, risk and ratios over closed days",
    "domain/portfolio_metrics.py": "returns, risk and scores of an analysis",
    "application/analytics.py": "what the two are given and give",
    "application/bridging.py": "seconds",
    "api/health.py": "milliseconds",
    "api/shapes.py": "milliseconds",
}
EXACT = sorted(
    str(path.relative_to(PACKAGE))
    for part in ("domain", "application", "api")
    for path in (PACKAGE / part).rglob("*.py")
)


def binary(source: str) -> list[str]:
    """Where a source makes or names a float, as ``line: what``."""
    return [
        f"{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Constant) and isinstance(node.value, float))
        or (isinstance(node, ast.Name) and node.id == "float")
        or (isinstance(node, ast.Import | ast.ImportFrom) and "math" in ast.unparse(node).split())
    ]


@pytest.mark.parametrize("name", [name for name in EXACT if name not in OTHERWISE])
def test_no_amount_is_a_binary_number(name: str) -> None:
    assert binary((PACKAGE / name).read_text()) == []


def test_every_exception_is_one() -> None:
    assert [name for name in OTHERWISE if not binary((PACKAGE / name).read_text())] == []


def test_a_float_is_found_however_it_is_written() -> None:
    assert len(binary("a = 0.1\nb = float('1')\nc: float\nimport math\nfrom math import fsum\nd = 1e3")) == 6
    assert binary("a = Decimal('0.1')") == []
