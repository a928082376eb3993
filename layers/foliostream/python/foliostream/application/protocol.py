"""What clients of the WebSocket may say, and every error code that they can be answered with."""

from __future__ import annotations

from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta, Struct

from foliostream.domain import keys
from foliostream.domain.notices import CHANNELS, Channel
from foliostream.errors import CallerError

MAX_SUBSCRIPTIONS: Final = 50
MAX_CLIENT_MESSAGE_BYTES: Final = 32_768
MAX_REQUEST_ID_LENGTH: Final = 128
# A client may say so many things a second, and so many at once after a silence.
ACTIONS_PER_SECOND: Final = 10
ACTIONS_AT_ONCE: Final = 40
MAX_VERSION: Final = 2**53

_RequestId = Annotated[str, Meta(max_length=MAX_REQUEST_ID_LENGTH)]
_PortfolioId = Annotated[str, Meta(pattern=rf"^{keys.PORTFOLIO_ID}\Z")]
_PortfolioIds = Annotated[list[_PortfolioId], Meta(min_length=1, max_length=MAX_SUBSCRIPTIONS)]
_Channels = Annotated[list[Channel], Meta(min_length=1, max_length=len(CHANNELS))]
# Whatever is no symbol is not held either.
_Ticker = Annotated[str, Meta(min_length=1, max_length=32)]
_Version = Annotated[int, Meta(ge=0, le=MAX_VERSION)]


class Ping(Struct, tag_field="action", tag="ping", forbid_unknown_fields=True):
    """``{"action": "ping"}``."""

    request_id: _RequestId | None = None


class Subscribe(Struct, tag_field="action", tag="subscribe", forbid_unknown_fields=True):
    """``{"action": "subscribe", "portfolio_ids": [...], "channels": [...]}``; all channels where none are named."""

    portfolio_ids: _PortfolioIds | None = None
    channels: _Channels | None = None
    request_id: _RequestId | None = None


class Unsubscribe(Struct, tag_field="action", tag="unsubscribe", forbid_unknown_fields=True):
    """``{"action": "unsubscribe", "portfolio_ids": [...], "channels": [...]}``; from the portfolios altogether where
    no channels are named."""

    portfolio_ids: _PortfolioIds | None = None
    channels: _Channels | None = None
    request_id: _RequestId | None = None


class Resume(Struct, tag_field="action", tag="resume", forbid_unknown_fields=True):
    """``{"action": "resume", "portfolio_id": "...", "last_version": 17}``: go on from the version the client has."""

    last_version: _Version
    portfolio_id: _PortfolioId | None = None
    request_id: _RequestId | None = None


class Refresh(Struct, tag_field="action", tag="refresh", forbid_unknown_fields=True):
    """``{"action": "refresh", "portfolio_id": "..."}``: value it now, ahead of everything else."""

    portfolio_id: _PortfolioId | None = None
    request_id: _RequestId | None = None


class Analyze(Struct, tag_field="action", tag="analyze", forbid_unknown_fields=True):
    """``{"action": "analyze", "ticker": "AAPL", "portfolio_id": "..."}``: the five metrics of a ticker; an analysis
    that is running gives way."""

    ticker: _Ticker
    portfolio_id: _PortfolioId | None = None
    request_id: _RequestId | None = None


class Cancel(Struct, tag_field="action", tag="cancel", forbid_unknown_fields=True):
    """``{"action": "cancel"}``: end the analysis that is running."""

    request_id: _RequestId | None = None


Action = Ping | Subscribe | Unsubscribe | Resume | Refresh | Analyze | Cancel
_actions: msgspec.json.Decoder[Action] = msgspec.json.Decoder(Action)
ACTIONS: Final = ("ping", "subscribe", "unsubscribe", "resume", "refresh", "analyze", "cancel")


class ErrorCode(NamedTuple):
    """``is_retryable``: the same message may be served later."""

    is_retryable: bool
    meaning: str


ERROR_CODES: Final = {
    "INVALID_JSON": ErrorCode(False, "The message is no JSON object."),
    "UNKNOWN_ACTION": ErrorCode(False, "There is no such action."),
    "INVALID_MESSAGE": ErrorCode(False, "A field is missing, unknown or not as it must be; `message` says which."),
    "MESSAGE_TOO_LARGE": ErrorCode(False, f"A message has at most {MAX_CLIENT_MESSAGE_BYTES} bytes."),
    "RATE_LIMITED": ErrorCode(
        True, f"A connection may send {ACTIONS_PER_SECOND} messages a second ({ACTIONS_AT_ONCE} at once)."
    ),
    "PORTFOLIO_NOT_FOUND": ErrorCode(False, "There is no such portfolio, or it is somebody else's."),
    "PORTFOLIO_NEEDED": ErrorCode(False, "`portfolio_id` may be left out only where there is one portfolio."),
    "UNKNOWN_TICKER": ErrorCode(False, "The portfolio does not hold the ticker."),
    "NOTHING_TO_CANCEL": ErrorCode(False, "No analysis is running."),
    "NOT_VALUED_YET": ErrorCode(True, "The portfolio changes faster than it is valued."),
    "SESSION_BUSY": ErrorCode(True, "Others open analyses in this session at the same time."),
    "TOO_MANY_SUBSCRIPTIONS": ErrorCode(False, f"A connection watches at most {MAX_SUBSCRIPTIONS} portfolios."),
    "TOO_MANY_WATCHERS": ErrorCode(False, "Too many connections watch this portfolio."),
    "TOKEN_EXPIRED": ErrorCode(False, "The token or the connection has expired; the connection is closed."),
    "SESSION_TAKEN_OVER": ErrorCode(False, "Another connection has opened the same session; this one is closed."),
    "SESSION_EXPIRED": ErrorCode(False, "The session is gone: connect again."),
    "CONNECTION_CLOSED": ErrorCode(False, "The connection is being closed: connect again."),
    "UNAVAILABLE": ErrorCode(True, "A store fails or throttles; nothing is wrong with the message."),
    "INTERNAL": ErrorCode(False, "Something is broken on our side."),
}


class _Envelope(Struct):
    """The parts of a message that help to answer it when the rest is wrong."""

    action: Any = None
    request_id: Any = None


_envelopes = msgspec.json.Decoder(_Envelope)


class Said(NamedTuple):
    """A client's message as far as it could be read."""

    raw: bytes
    action: object
    request_id: str | None


def envelope(body: str) -> Said:
    """``CallerError`` ``MESSAGE_TOO_LARGE`` or ``INVALID_JSON``."""
    raw = body.encode(errors="replace")
    if len(raw) > MAX_CLIENT_MESSAGE_BYTES:
        raise CallerError(f"a message has at most {MAX_CLIENT_MESSAGE_BYTES} bytes", code="MESSAGE_TOO_LARGE")
    try:
        found = _envelopes.decode(raw)
    except (msgspec.MsgspecError, RecursionError) as fault:  # nested a thousand times
        raise CallerError(f"a message is a JSON object: {fault}", code="INVALID_JSON") from None
    return Said(raw, found.action, _repeatable(found.request_id))


def action(said: Said) -> Action:
    """``CallerError`` ``UNKNOWN_ACTION`` or ``INVALID_MESSAGE``."""
    if said.action not in list(ACTIONS):  # a list: what is asked may be anything, also unhashable
        raise CallerError(f"action is one of {', '.join(ACTIONS)}", code="UNKNOWN_ACTION")
    try:
        return _actions.decode(said.raw)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
        raise CallerError(str(fault), code="INVALID_MESSAGE") from None


def _repeatable(request_id: object) -> str | None:
    """What an answer may carry: the answer to a too long one has to fit into a frame as well."""
    return request_id if isinstance(request_id, str) and len(request_id) <= MAX_REQUEST_ID_LENGTH else None
