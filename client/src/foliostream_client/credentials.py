"""Where the command's address and token are kept: a file that only its owner can read."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from foliostream_client.client import Client
from foliostream_client.errors import SettingError
from foliostream_client.transport import is_loopback

FILE_NAME: Final = "credentials.json"
# Before the file: for scripts, where nobody logs in.
URL, WS_URL, TOKEN = "FOLIOSTREAM_URL", "FOLIOSTREAM_WS_URL", "FOLIOSTREAM_TOKEN"


class Credentials(Struct, frozen=True):
    """``rest_url`` is the stage's address; ``ws_url`` None is asked for when it is needed."""

    rest_url: str
    token: str
    ws_url: str | None = None

    def client(self) -> Client:
        """A client that uses them."""
        return Client(self.rest_url, self.token, self.ws_url)


def path(environment: Mapping[str, str]) -> Path:
    """The file: below ``XDG_CONFIG_HOME``, or ``~/.config``."""
    configured = environment.get("XDG_CONFIG_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".config"
    return base / "foliostream" / FILE_NAME


def checked(rest_url: str, token: str, ws_url: str | None = None) -> Credentials:
    """``SettingError`` if the addresses are no http(s) and ws(s) addresses, would show the token to the network, or the
    token is none."""
    for url, schemes in ((rest_url, ("https", "http")), (ws_url, ("wss", "ws"))):
        if url is not None:
            _check_address(url, *schemes)
    if not token or not token.isascii() or any(not character.isprintable() or character == " " for character in token):
        raise SettingError("the token is empty, or holds what no token holds")
    return Credentials(rest_url.rstrip("/"), token, ws_url)


def _check_address(url: str, secure: str, open_: str) -> None:
    if url.startswith(f"{secure}://") or (url.startswith(f"{open_}://") and is_loopback(url)):
        return
    if url.startswith(f"{open_}://"):
        raise SettingError(f"{url}: the token would be readable on the way; {secure}:// is needed")
    raise SettingError(f"{url!r} is no {secure}:// address")


def of_outputs(file: Path) -> Credentials:
    """Those of a cloud on this machine, from what ``make up`` wrote; ``SettingError`` if there is none."""
    try:
        outputs = json.loads(file.read_bytes())
        return checked(outputs["rest_url"], outputs["token"], outputs["ws_url"])
    except (OSError, ValueError, KeyError, TypeError) as fault:
        raise SettingError(f"{file} cannot be used ({fault!r}): is the cloud up (`make up`)?") from fault


def store(credentials: Credentials, environment: Mapping[str, str]) -> Path:
    """Write the file, readable by its owner only from its first byte on, all of it or nothing."""
    file = path(environment)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f".{FILE_NAME}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        opened.write(msgspec.json.encode(credentials) + b"\n")
    draft.replace(file)
    return file


def load(environment: Mapping[str, str]) -> Credentials:
    """Those of the environment, or else of the file; ``SettingError`` if there are none or they cannot be used."""
    if environment.get(URL):
        return checked(environment[URL], environment.get(TOKEN, ""), environment.get(WS_URL) or None)
    file = path(environment)
    try:
        stored = msgspec.json.decode(file.read_bytes(), type=Credentials)
    except FileNotFoundError:
        raise SettingError("nobody is logged in: `foliostream login`") from None
    except (OSError, msgspec.MsgspecError) as fault:
        raise SettingError(f"{file} cannot be read ({fault}): `foliostream login` writes it anew") from fault
    return checked(stored.rest_url, stored.token, stored.ws_url)
