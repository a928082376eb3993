"""Fills a Lambda layer with the packages of one lock file; called by `layers/*/Makefile` out of `sam build`.

    python -m local.layers layer-rest ARTIFACTS_DIR

For AWS the wheels of python3.13 on arm64 are taken, whatever machine builds. FOLIOSTREAM_BUILD=local takes those of the
interpreter that runs the functions on this machine. Standard library only.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from local.environments import CACHE, CLOUD, PIP_INSTALL, ROOT, locked

# Lambda's python3.13 runs on Amazon Linux 2023 (glibc 2.34), so wheels for either of these run on it.
AWS_PLATFORM = ["--platform", "manylinux2014_aarch64", "--platform", "manylinux_2_28_aarch64"]
AWS_PYTHON = ["--python-version", "3.13", "--implementation", "cp"]
# Packages' own tests, which some bring along: a third of a layer.
_TESTS = frozenset({"test", "tests"})
SIZE_MAX_BYTES = 50_000_000


class LayerError(RuntimeError):
    """A layer could not be filled, or is too large."""


def build(lock_name: str, artifacts: Path) -> None:
    """Put the packages of `requirements/{lock_name}.txt` under `artifacts`/python; quick the second time."""
    is_local = os.environ.get("FOLIOSTREAM_BUILD") == "local"
    packages = _installed(ROOT / "requirements" / f"{lock_name}.txt", is_local)
    shutil.copytree(packages, artifacts / "python", dirs_exist_ok=True)


def _installed(lock: Path, is_local: bool) -> Path:
    """The tree of installed packages, kept under the digest of what it was made from."""
    target = [str(CLOUD.python)] if is_local else [*AWS_PLATFORM, *AWS_PYTHON]
    made_from = repr((target, sys.version_info[:2] if is_local else None)).encode() + lock.read_bytes()
    prefix = f"{lock.stem}-{'local' if is_local else 'aws'}-"
    tree = CACHE / "layers" / f"{prefix}{hashlib.sha256(made_from).hexdigest()[:16]}"
    with locked(CACHE / "layers" / f"{prefix}lock"):
        if not tree.exists():
            for old in CACHE.glob(f"layers/{prefix}*/"):
                shutil.rmtree(old)
            _install(lock, is_local, tree)
    return tree


def compile_ahead(folder: Path) -> None:
    """Compile what will lie under /opt/python: the emulator unpacks a layer for every worker, which would compile it.

    Only for this machine: the interpreter is the one that runs the functions. Unchecked, as unpacking changes times.
    """
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", "/opt/python"]
    subprocess.run([str(CLOUD.python), "-m", "compileall", *options, str(folder)], check=True)


def _install(lock: Path, is_local: bool, tree: Path) -> None:
    half_made = tree.with_name(f"{tree.name}.part")
    shutil.rmtree(half_made, ignore_errors=True)
    python, options = (str(CLOUD.python), []) if is_local else (sys.executable, [*AWS_PLATFORM, *AWS_PYTHON])
    result = subprocess.run(
        [python, *PIP_INSTALL, "--no-compile", *options, "-r", str(lock), "--target", str(half_made)],
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode != 0:
        raise LayerError(f"pip could not install {lock.name}:\n{result.stdout[-4000:]}")
    # Command line tools, also those inside a package (autobahn brings a compiler of schemas); the metadata stays,
    # packages read their version from it.
    for tools in [path for path in half_made.rglob("bin") if path.is_dir()]:
        shutil.rmtree(tools)
    # What only developers need is a sixth of numpy.
    for tests in [path for path in half_made.rglob("test*") if path.is_dir() and path.name in _TESTS]:
        shutil.rmtree(tests, ignore_errors=True)
    for stub in list(half_made.rglob("*.pyi")):
        stub.unlink()
    size = sum(path.stat().st_size for path in half_made.rglob("*") if path.is_file())
    if size > SIZE_MAX_BYTES:
        raise LayerError(f"{lock.name} needs {size:,} bytes, a layer may have {SIZE_MAX_BYTES:,}")
    if is_local:
        compile_ahead(half_made)
    half_made.rename(tree)


if __name__ == "__main__":
    try:
        build(sys.argv[1], Path(sys.argv[2]))
    except LayerError as error:
        sys.exit(str(error))
