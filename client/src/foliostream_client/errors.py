"""What can go wrong for a user of the client; ``ClientError`` is all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


class ClientError(Exception):
    """The client could not do what it was asked; the text is for people."""


class ApiError(ClientError):
    """The API refused; ``status`` 0 if nothing answered at all. ``code`` is the contract's, or empty; ``details`` name
    fields, limits or entries (``index``: the place in a list that was sent)."""

    def __init__(
        self, request: str, status: int, code: str, message: str, details: Sequence[Mapping[str, Any]] = ()
    ) -> None:
        super().__init__(f"{request}: {status or 'no answer'} {code} {message}".replace("  ", " ").strip())
        self.status = status
        self.code = code
        self.message = message
        self.details = list(details)


class SocketError(ClientError):
    """The WebSocket refused the connection or lost it; says which and why. ``status``: the handshake's, 0 if it had
    none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class AnalysisError(ClientError):
    """An analysis was refused, failed or was cancelled by another one; ``code`` is the contract's."""

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.retryable = retryable


class InputError(ClientError):
    """A file cannot be read as what it should be; every problem names its line."""

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{name}, {problem}" for problem in problems))
        self.problems = list(problems)


class SettingError(ClientError):
    """Nobody is logged in, or what is stored or given as address or token cannot be used."""
