"""`make build`, as it goes to AWS: arm64, python3.13, small, and nothing in it that does not belong there."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.infra.cloudformation import FUNCTION, ROOT, function_setting, resources

LAYER = "AWS::Serverless::LayerVersion"
BUILD = ROOT / ".aws-sam" / "build"
# AWS takes 250 MB of all layers and the function together, unzipped; a cold start pays for much less than that.
LAYER_BYTES_MAX = 50_000_000
BUILD_SECONDS_MAX = 200
ELF_MAGIC = b"\x7fELF"
ELF_AARCH64 = 183
# For exactly this Python, or for every one from some version on.
NATIVE_SUFFIXES = (".cpython-313-aarch64-linux-gnu.so", ".abi3.so")


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    """The template that `make build` wrote."""
    # Like a user's shell: not as part of the `make` that may have started the tests, and for AWS.
    ours = ("MAKE", "MFLAGS", "FOLIOSTREAM_BUILD")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    (BUILD / "template.yaml").unlink(missing_ok=True)
    run = subprocess.run(
        ["make", "build"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=BUILD_SECONDS_MAX,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    loaded: dict[str, Any] = yaml.safe_load((BUILD / "template.yaml").read_text())
    return loaded


def artifact(built: dict[str, Any], name: str) -> Path:
    """What is uploaded for a function or layer."""
    properties = built["Resources"][name]["Properties"]
    return (BUILD / str(properties.get("CodeUri") or properties["ContentUri"])).resolve()


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def native(folder: Path) -> dict[Path, bytes]:
    """Executables and shared objects, whatever they are called, with the beginning of their header."""
    heads = {}
    for path in files(folder):
        with path.open("rb") as opened:
            heads[path] = opened.read(20)
    return {path: head for path, head in heads.items() if head.startswith(ELF_MAGIC)}


def packages(folder: Path) -> set[str]:
    """Distributions installed in a layer."""
    return {path.name.partition("-")[0].lower() for path in (folder / "python").glob("*.dist-info")}


def test_the_functions_run_on_what_the_layers_are_built_for() -> None:
    for name in resources(FUNCTION):
        assert function_setting(name, "Runtime") == "python3.13"
        assert function_setting(name, "Architectures") == ["arm64"]
    for properties in resources(LAYER).values():
        assert properties["CompatibleRuntimes"] == ["python3.13"]
        assert properties["CompatibleArchitectures"] == ["arm64"]


@pytest.mark.parametrize("name", sorted(resources(LAYER)))
def test_a_layer_is_smaller_than_50_mb_unzipped(built: dict[str, Any], name: str) -> None:
    layer = artifact(built, name)
    assert (layer / "python").is_dir()
    assert 0 < sum(path.stat().st_size for path in files(layer)) < LAYER_BYTES_MAX


@pytest.mark.parametrize("name", sorted(resources(LAYER)))
def test_native_code_in_a_layer_is_for_arm64_and_python_3_13(built: dict[str, Any], name: str) -> None:
    for path, head in native(artifact(built, name)).items():
        assert head[4:6] == b"\x02\x01", f"{path} is not 64 bit, little endian"
        assert struct.unpack_from("<H", head, 18) == (ELF_AARCH64,), f"{path} is for another machine"
        # What a wheel brings in its .libs are plain libraries, which know of no Python.
        is_library = path.parent.name.endswith(".libs")
        assert is_library or path.name.endswith(NATIVE_SUFFIXES), f"{path} is for another Python"


def test_the_layers_with_native_code_were_looked_at(built: dict[str, Any]) -> None:
    with_native = {name for name in resources(LAYER) if native(artifact(built, name))}
    assert with_native == {
        "DependenciesLayer",
        "RestDependenciesLayer",
        "BrokerDependenciesLayer",
        "AuthorizerDependenciesLayer",
        "MetricsDependenciesLayer",
    }


def test_a_heavy_package_is_only_in_the_layer_of_the_function_that_needs_it(built: dict[str, Any]) -> None:
    shared = packages(artifact(built, "DependenciesLayer"))
    assert {"msgspec", "redis", "aws_lambda_powertools"} <= shared
    everywhere = {name: packages(artifact(built, name)) for name in resources(LAYER)}
    assert {name for name, found in everywhere.items() if "pydantic" in found} == {"RestDependenciesLayer"}
    assert {name for name, found in everywhere.items() if "numpy" in found} == {"MetricsDependenciesLayer"}
    assert {name for name, found in everywhere.items() if "cryptography" in found} == {
        "AuthorizerDependenciesLayer",
        "BrokerDependenciesLayer",
    }
    assert {name for name, found in everywhere.items() if "kiteconnect" in found} == {"BrokerDependenciesLayer"}
    assert {name for name, found in everywhere.items() if {"boto3", "botocore"} & found} == set()


def test_the_package_layer_holds_our_package_with_its_data_and_nothing_compiled(built: dict[str, Any]) -> None:
    package = artifact(built, "FoliostreamLayer") / "python" / "foliostream"
    source = ROOT / "layers" / "foliostream" / "python" / "foliostream"
    expected = {path.relative_to(source) for path in files(source) if "__pycache__" not in path.parts}
    assert {path.relative_to(package) for path in files(package)} == expected
    assert Path("data/sp500_20_closes_2020_2022.csv") in expected
    assert list(package.parent.rglob("__pycache__")) == []
    assert [path.name for path in package.parent.iterdir()] == ["foliostream"]


@pytest.mark.parametrize("name", sorted(resources(FUNCTION)))
def test_a_function_holds_only_its_handler(built: dict[str, Any], name: str) -> None:
    assert [path.name for path in artifact(built, name).iterdir()] == ["app.py"]


def test_other_values_of_parameters_make_another_layer(tmp_path: Path) -> None:
    """SAM publishes no version for them alone."""
    digests = set()
    ours = ("MAKE", "FOLIOSTREAM_")
    for number, given in enumerate(["", "LogLevel=DEBUG", "LogLevel=DEBUG", "LogLevel=INFO"]):
        artifacts = tmp_path / str(number)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        run = subprocess.run(
            ["make", "-f", "layers/foliostream/Makefile", "build-FoliostreamLayer", f"ARTIFACTS_DIR={artifacts}"],
            cwd=ROOT,
            env=environment | {"FOLIOSTREAM_PARAMETERS": given},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        digests.add((artifacts / "parameters.sha256").read_text())
    assert len(digests) == 3
    assert "DEBUG" not in "".join(digests)
