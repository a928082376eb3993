"""The one tree of errors.

Four classes say who has to act: ``CallerError`` (the request is wrong), ``ConflictError`` (read again, then
decide), ``RetryableError`` (the same call may succeed later), ``PermanentError`` (an operator has to look).
Every error carries a stable ``code``; REST and WebSocket answers are made from these attributes in one place each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar


class FoliostreamError(Exception):
    """Root of the tree.

    ``code``: stable upper-case name; ``http_status``: what REST answers; ``retryable``: whether repeating the
    same request can succeed; ``details``: JSON-ready facts (the limit, the value, the item).
    """

    http_status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    default_code: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, code: str | None = None, details: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details = list(details)


class CallerError(FoliostreamError):
    """The request cannot be served as it is; repeating it changes nothing."""

    http_status = 400
    default_code = "INVALID"


class NotFoundError(CallerError):
    """It does not exist, or it belongs to somebody else: the answer is the same."""

    http_status = 404
    default_code = "NOT_FOUND"


class ForbiddenError(CallerError):
    """The caller is known but lacks a scope."""

    http_status = 403
    default_code = "FORBIDDEN"


class UnauthorizedError(CallerError):
    """No acceptable proof of who is calling."""

    http_status = 401
    default_code = "UNAUTHORIZED"


class RefusedError(CallerError):
    """Well-formed, but the books do not allow it (no cash, no holding, a limit reached)."""

    http_status = 422
    default_code = "REFUSED"


class ThrottledError(CallerError):
    """Too much at once; later the same is served."""

    http_status = 429
    retryable = True
    default_code = "RATE_LIMITED"


class ConflictError(FoliostreamError):
    """Somebody else was first, or the same id came with another body."""

    http_status = 409
    default_code = "CONFLICT"


class RetryableError(FoliostreamError):
    """A store, queue or neighbour failed or throttled; nothing is known to be wrong with the request."""

    http_status = 503
    retryable = True
    default_code = "UNAVAILABLE"


class BusyClientError(RetryableError):
    """A client takes nothing now; everybody else may."""

    default_code = "CLIENT_BUSY"


class PermanentError(FoliostreamError):
    """Data or configuration that no retry can mend."""

    default_code = "PERMANENT"


class SettingsError(PermanentError):
    """The environment is incomplete or wrong; the message lists every fault at once."""

    default_code = "SETTINGS"
