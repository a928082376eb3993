"""What the environment asks of the local cloud."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from local.environments import CACHE, ROOT

DEFAULT_PORT = 4566
REGION = "us-east-1"
STACK_NAME = "foliostream"
AUDIENCE = "foliostream"
ISSUER = "foliostream-local"
# The emulator's root identity: it is what deploys. The functions get the credentials of their own roles.
ACCESS_KEY_ID = "test"
SECRET_ACCESS_KEY = "test"  # noqa: S105 (a fixed name of the emulator, not a secret)


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True)
class Settings:
    """One local cloud: where its state lives, its port (0: any free one), and what is handed on to the functions."""

    home: Path
    port: int = DEFAULT_PORT
    port_is_fixed: bool = False
    portfolio: Mapping[str, str] = field(default_factory=dict)
    template: Path = ROOT / "template.yaml"
    # What the functions find in their environment beside the template's: tests put something between them and AWS.
    functions_environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def logs(self) -> Path:
        """The folder of all log files."""
        return self.home / "logs"

    @property
    def outputs(self) -> Path:
        """The file that tells others where everything answers."""
        return self.home / "outputs.json"


def _is_of_the_cloud(name: str) -> bool:
    return name.startswith("PORTFOLIO_") and not name.startswith("PORTFOLIO_BRIDGE_")


def from_environment(environment: Mapping[str, str] = os.environ) -> Settings:
    """FOLIOSTREAM_HOME (default `.local`), FOLIOSTREAM_PORT (default 4566, or a free one) and every PORTFOLIO_* but
    those of the bridge, which is no part of the cloud."""
    home = environment.get("FOLIOSTREAM_HOME") or str(CACHE)
    port = environment.get("FOLIOSTREAM_PORT", "")
    if port and not (port.isdigit() and 0 < int(port) < 65536):
        raise SettingsError(f"FOLIOSTREAM_PORT={port}: a port is a number between 1 and 65535")
    return Settings(
        home=(ROOT / home).resolve(),
        port=int(port or DEFAULT_PORT),
        port_is_fixed=bool(port),
        portfolio={name: value for name, value in environment.items() if _is_of_the_cloud(name)},
    )
