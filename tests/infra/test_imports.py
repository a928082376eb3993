"""Imports go one way: functions -> api, application -> domain, ports; wiring -> adapters -> ports, domain.

Read from the source, so an import inside a function counts too. What is imported by name at run time it cannot see.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "layers/foliostream/python/foliostream"
PURE = {"domain", "errors", "ports"}
SHARED = {"recent", *PURE}
# The parts of our package that each part may import, itself included.
MAY_IMPORT = {
    "domain": {"domain", "errors"},
    "errors": set(),
    "recent": set(),
    "settings": {"errors"},
    "ports": {"domain", "errors"},
    "application": {"application", *SHARED},
    "adapters": {"adapters", *SHARED},
    "api": {"api", "application", "settings", *PURE},
    "lambda_events": {"lambda_events", "application", *PURE},
    "bridge": {"adapters", "application", "bridge_settings", *PURE},
    "bridge_settings": {"errors"},
    "metrics": set(),
    "queues": set(),
    "preloading": set(),
    "wiring": {"adapters", "application", "preloading", "metrics", "queues", "settings", *PURE},
    "functions": {"wiring", "metrics", "api", "application", "queues", "settings", "lambda_events", *PURE},
}
# Third parties of the inner parts. None may know AWS, Redis or the process's environment.
OUTSIDE = {"domain": {"msgspec"}, "errors": set(), "ports": {"msgspec"}, "application": {"msgspec"}}
# The one module that computes with numpy, whose import alone takes longer than a hot function's start may.
WITH_NUMPY = PACKAGE / "domain/portfolio_metrics.py"
FORBIDDEN_INSIDE = {"boto3", "botocore", "redis", "os"}
FORBIDDEN_IN_DOMAIN = FORBIDDEN_INSIDE | {"time", "random", "secrets", "uuid", "socket", "threading", "asyncio"}


def sources() -> list[Path]:
    return sorted([*PACKAGE.rglob("*.py"), *(ROOT / "functions").rglob("*.py")])


def part_of(path: Path) -> str:
    """ "domain", "adapters", ..., "functions"; a module beside the parts is a part by its own name."""
    if not path.is_relative_to(PACKAGE):
        return "functions"
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of what is imported, wherever in the file; ``from a import b`` is ``a.b``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they go"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def names(path: Path) -> list[str]:
    return list(imported(ast.parse(path.read_text(), str(path))))


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))


def ours(path: Path) -> set[str]:
    """Parts of our package that a file imports."""
    return {name.split(".")[1] for name in names(path) if name.startswith("foliostream.")}


def others(path: Path) -> set[str]:
    """Top-level packages from elsewhere that a file imports."""
    return {name.split(".")[0] for name in names(path)} - {"foliostream"}


def test_the_source_tree_was_found() -> None:
    assert {"domain", "errors", "settings", "ports", "functions"} <= {part_of(path) for path in sources()}


@pytest.mark.parametrize("path", sources(), ids=label)
def test_a_file_imports_only_what_lies_further_in(path: Path) -> None:
    part = part_of(path)
    assert part in {*MAY_IMPORT, "__init__"}, "say above what this part may import"
    if part == "__init__":
        assert names(path) == []
        return
    assert ours(path) - MAY_IMPORT[part] == set()


@pytest.mark.parametrize("path", [path for path in sources() if part_of(path) in OUTSIDE], ids=label)
def test_the_inner_parts_need_no_third_party_but_plain_structs(path: Path) -> None:
    allowed = OUTSIDE[part_of(path)] | ({"numpy"} if path == WITH_NUMPY else set())
    assert others(path) - sys.stdlib_module_names <= allowed


@pytest.mark.parametrize("path", [path for path in sources() if part_of(path) in OUTSIDE], ids=label)
def test_the_inner_parts_know_neither_cloud_nor_store_nor_environment(path: Path) -> None:
    forbidden = FORBIDDEN_IN_DOMAIN if part_of(path) == "domain" else FORBIDDEN_INSIDE
    assert others(path) & forbidden == set()


@pytest.mark.parametrize("path", [path for path in sources() if part_of(path) in {"functions", "api"}], ids=label)
def test_a_function_reaches_aws_and_redis_only_through_the_wiring(path: Path) -> None:
    assert others(path) & {"boto3", "botocore", "redis"} == set()


def test_a_brokers_client_is_imported_by_its_adapter_only() -> None:
    using = {path.relative_to(PACKAGE).as_posix() for path in sources() if "kiteconnect" in others(path)}
    assert using == {"adapters/brokers/kite.py"}


def test_every_module_of_the_repository_that_is_imported_is_there() -> None:
    """Also by the end-to-end tests and the benchmarks, which run seldom: a module that moved shows at once."""
    roots = {"local": ROOT, "tests": ROOT, "benchmarks": ROOT, "foliostream_client": ROOT / "client" / "src"}
    missing = []
    for path in sorted(
        file for name in ("local", "tests", "benchmarks", "client/src") for file in (ROOT / name).rglob("*.py")
    ):
        tree = ast.parse(path.read_text(), str(path))
        modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
        for module in sorted(modules):
            parts = module.split(".")
            if parts[0] in roots:
                place = roots[parts[0]].joinpath(*parts)
                if not place.is_dir() and not place.with_suffix(".py").exists():
                    missing.append(f"{label(path)}: {module}")
    assert missing == []
