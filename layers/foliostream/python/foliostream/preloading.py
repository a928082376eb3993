"""Importing, before SnapStart takes its snapshot, what is otherwise imported on first use: it is then in the snapshot.

Only modules: clients, connections, credentials and settings are each container's own, made in its first invocation.
"""

from __future__ import annotations

import os
import pkgutil
from contextlib import suppress
from importlib import import_module

# Lambda says so while it initialises a published version for its snapshot, and in what is restored from it.
IS_FOR_A_SNAPSHOT = os.environ.get("AWS_LAMBDA_INITIALIZATION_TYPE") == "snap-start"
_PACKAGES = ("foliostream.adapters", "foliostream.application")
# What the SDK imports when it makes a client.
_SDK = ("boto3", "boto3.session", "botocore.session", "botocore.client", "botocore.handlers", "botocore.httpsession")


def preload() -> None:
    """All of ours, of which a function uses a part; what needs packages of another function's layer is left out."""
    names = [f"{package}.{one.name}" for package in _PACKAGES for one in pkgutil.iter_modules(_path(package))]
    for name in (*_SDK, *names):
        with suppress(ModuleNotFoundError):
            import_module(name)


def _path(package: str) -> list[str]:
    return list(import_module(package).__path__)
