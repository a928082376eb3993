"""Sessions on DynamoDB, one item each.

============  ===================  ==========================================================================
pk            sk                   what
============  ===================  ==========================================================================
SESSION#{id}  SENT#{portfolio_id}  sent_version, parts (JSON): what its last connection was sent
SESSION#{id}  SESSION              owner, connection_id, expires_at_ms, portfolios (map: id -> channels); of
                                   the current run: run (JSON), run_id, run_number, run_status, opening,
                                   results (map: metric -> at, payload), ending; superseded (list of number,
                                   payload)
============  ===================  ==========================================================================

``expires_at`` (epoch seconds) is for DynamoDB's own deletion, which may come days late: reads and conditions look at
``expires_at_ms``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from foliostream.adapters.dynamodb_batch import Attempt, batch_write, conditional, our_errors
from foliostream.domain.notices import Channel
from foliostream.domain.sessions import Run, RunStatus, Session, StoredResult, Superseded
from foliostream.errors import ConflictError, RetryableError, UnauthorizedError
from foliostream.ports import Subscription

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

# Between the read and the write of the same session another connection may open it.
_OPENING_TRIES = 4
_SENT: Final = "SENT#"
_parts = msgspec.json.Decoder(dict[str, str])
_run = msgspec.json.Decoder(Run)


class DynamoDbSessions:
    """Implements ``ports.Sessions``."""

    def __init__(self, client: DynamoDBClient, table: str) -> None:
        self._client = client
        self._table = table

    def open(self, session_id: str, owner: str, connection_id: str, now_ms: int, expires_at_ms: int) -> Session | None:
        """The session as it was; a new one where there was none, or one that has expired."""
        for _ in range(_OPENING_TRIES):
            before = self.view(session_id, now_ms)
            if before is not None and before.owner != owner:
                raise UnauthorizedError("the session belongs to somebody else", code="SESSION_NOT_YOURS")
            if before is None:
                attempt = self._create(Session(session_id, owner, connection_id, expires_at_ms), now_ms)
            else:
                attempt = self._update(
                    session_id,
                    "SET connection_id = :connection, expires_at = :expires_at, expires_at_ms = :expires",
                    "#owner = :owner AND connection_id = :before AND expires_at_ms > :now",
                    {":connection": {"S": connection_id}, ":owner": {"S": owner}, ":now": {"N": str(now_ms)}}
                    | {":before": {"S": before.connection_id}}
                    | _expiry(expires_at_ms),
                    {"#owner": "owner"},
                )
            if attempt.held:
                return before
        raise RetryableError(f"session {session_id}: others open it at the same time", code="SESSION_BUSY")

    def view(self, session_id: str, now_ms: int) -> Session | None:
        """Strongly consistent."""
        with our_errors(f"GetItem on {self._table}"):
            item: Any = self._client.get_item(TableName=self._table, Key=_key(session_id), ConsistentRead=True).get(
                "Item"
            )
        return None if item is None or int(item["expires_at_ms"]["N"]) <= now_ms else _session(session_id, item)

    def touch(self, session_id: str, expires_at_ms: int) -> None:
        """Move its end."""
        self._update(
            session_id,
            "SET expires_at = :expires_at, expires_at_ms = :expires",
            "attribute_exists(pk)",
            _expiry(expires_at_ms),
        )

    def remember(
        self, session_id: str, added: Mapping[str, Collection[Channel]], removed: Collection[str] = ()
    ) -> None:
        """Portfolios one by one, so that two messages of one client do not undo each other."""
        names = {f"#p{number}": name for number, name in enumerate([*added, *removed])}
        placeholders = list(names)
        values = {f":p{number}": {"S": ",".join(added[name])} for number, name in enumerate(added)}
        sets = ", ".join(f"portfolios.#p{number} = :p{number}" for number in range(len(added)))
        gone = ", ".join(f"portfolios.{name}" for name in placeholders[len(added) :])
        change = " ".join(part for part in (f"SET {sets}" if sets else "", f"REMOVE {gone}" if gone else "") if part)
        if change:
            self._update(session_id, change, "attribute_exists(pk)", values, names)

    def keep_sent(self, session_id: str, sent: Sequence[Subscription], expires_at_ms: int) -> None:
        """In bulk."""
        puts = [
            {
                "pk": {"S": f"SESSION#{session_id}"},
                "sk": {"S": _SENT + item.portfolio_id},
                "sent_version": {"N": str(item.sent_version)},
                "parts": {"S": msgspec.json.encode(item.parts).decode()},
                "expires_at": _expiry(expires_at_ms)[":expires_at"],
            }
            for item in sent
        ]
        batch_write(self._client, self._table, puts=puts)

    def sent(self, session_id: str, portfolio_id: str) -> Subscription | None:
        """Also one that has expired: it says the same."""
        key = {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": _SENT + portfolio_id}}
        with our_errors(f"GetItem on {self._table}"):
            item: Any = self._client.get_item(TableName=self._table, Key=key, ConsistentRead=True).get("Item")
        if item is None:
            return None
        return Subscription(portfolio_id, int(item["sent_version"]["N"]), _parts.decode(item["parts"]["S"]))

    def open_run(self, session: Session) -> None:
        """Everything of the run at once, if the session's run is still the one before it."""
        run = session.run
        if run is None:
            raise ValueError("a run to open is missing")
        attempt = self._update(
            session.session_id,
            "SET run = :run, run_id = :run_id, run_number = :number, run_status = :status, opening = :opening, "
            "results = :results, superseded = :superseded REMOVE ending",
            "attribute_exists(pk) AND (run_number = :before OR (attribute_not_exists(run_number) AND :before = :none))",
            {
                ":run": {"S": msgspec.json.encode(run).decode()},
                ":run_id": {"S": run.run_id},
                ":number": {"N": str(run.number)},
                ":before": {"N": str(run.number - 1)},
                ":none": {"N": "0"},
                ":status": {"S": session.status},
                ":opening": {"B": session.opening},
                ":results": {"M": {}},
                ":superseded": {
                    "L": [
                        {"M": {"number": {"N": str(gone.number)}, "payload": {"B": gone.payload}}}
                        for gone in session.superseded
                    ]
                },
            },
        )
        if not attempt.held:
            raise ConflictError(f"session {session.session_id} has another run by now")

    def put_result(self, session_id: str, run_id: str, metric: str, payload: bytes, now_ms: int) -> str | None:
        """One condition says it all: this run, still running, this metric not there."""
        attempt = self._update(
            session_id,
            "SET results.#metric = :result",
            "run_id = :run_id AND run_status = :running AND attribute_not_exists(results.#metric)",
            {
                ":run_id": {"S": run_id},
                ":running": {"S": "running"},
                ":result": {"M": {"at": {"N": str(now_ms)}, "payload": {"B": payload}}},
            },
            {"#metric": metric},
        )
        return _connection(attempt)

    def end_run(self, session_id: str, run_id: str, status: RunStatus, ending: bytes) -> str | None:
        """If it is this run that is running."""
        attempt = self._update(
            session_id,
            "SET run_status = :status, ending = :ending",
            "run_id = :run_id AND run_status = :running",
            {
                ":run_id": {"S": run_id},
                ":running": {"S": "running"},
                ":status": {"S": status},
                ":ending": {"B": ending},
            },
        )
        return _connection(attempt)

    def _create(self, session: Session, now_ms: int) -> Attempt:
        item = _key(session.session_id) | {
            "owner": {"S": session.owner},
            "connection_id": {"S": session.connection_id},
            "portfolios": {"M": {}},
            "expires_at": _expiry(session.expires_at_ms)[":expires_at"],
            "expires_at_ms": {"N": str(session.expires_at_ms)},
        }
        return conditional(
            self._client.put_item,
            f"PutItem on {self._table}",
            {
                "TableName": self._table,
                "Item": item,
                "ConditionExpression": "attribute_not_exists(pk) OR expires_at_ms <= :now",
                "ExpressionAttributeValues": {":now": {"N": str(now_ms)}},
            },
        )

    def _update(
        self,
        session_id: str,
        change: str,
        condition: str,
        values: Mapping[str, Any],
        names: Mapping[str, str] | None = None,
    ) -> Attempt:
        arguments: dict[str, Any] = {
            "TableName": self._table,
            "Key": _key(session_id),
            "UpdateExpression": change,
            "ConditionExpression": condition,
            "ReturnValues": "ALL_OLD",
        }
        if values:  # an empty one is refused
            arguments["ExpressionAttributeValues"] = dict(values)
        if names:
            arguments["ExpressionAttributeNames"] = dict(names)
        return conditional(self._client.update_item, f"UpdateItem on {self._table}", arguments)


def _connection(attempt: Attempt) -> str | None:
    return attempt.item["connection_id"]["S"] if attempt.held else None


def _key(session_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"SESSION#{session_id}"}, "sk": {"S": "SESSION"}}


def _expiry(expires_at_ms: int) -> dict[str, Any]:
    return {":expires_at": {"N": str(-(-expires_at_ms // 1000))}, ":expires": {"N": str(expires_at_ms)}}


def _session(session_id: str, item: dict[str, Any]) -> Session:
    return Session(
        session_id=session_id,
        owner=item["owner"]["S"],
        connection_id=item["connection_id"]["S"],
        expires_at_ms=int(item["expires_at_ms"]["N"]),
        portfolios={name: tuple(value["S"].split(",")) for name, value in item["portfolios"]["M"].items()},
        run=_run.decode(item["run"]["S"]) if "run" in item else None,
        status=item["run_status"]["S"] if "run_status" in item else "completed",
        opening=bytes(item["opening"]["B"]) if "opening" in item else b"",
        results=tuple(
            StoredResult(metric, int(value["M"]["at"]["N"]), bytes(value["M"]["payload"]["B"]))
            for metric, value in sorted(item.get("results", {}).get("M", {}).items())
        ),
        ending=bytes(item["ending"]["B"]) if "ending" in item else b"",
        superseded=tuple(
            Superseded(int(gone["M"]["number"]["N"]), bytes(gone["M"]["payload"]["B"]))
            for gone in item.get("superseded", {}).get("L", [])
        ),
    )
