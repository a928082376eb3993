"""`make dlq-list`, `dlq-show`, `dlq-replay`: what the deployed function `dead_letters` answers."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from local.cloud import Outputs
from local.services import CloudError

# The function is given a minute.
_READ_TIMEOUT_S = 70


class DeadLetters:
    """Asks the function; `CloudError` if it fails or refuses."""

    def __init__(self, outputs: Outputs, show: Callable[[str], object] = print) -> None:
        self._function = outputs.resources["DeadLettersFunctionName"]
        self._show = show
        self._client: Any = outputs.aws("lambda", Config(read_timeout=_READ_TIMEOUT_S))

    def list(self) -> None:
        """A line a queue that has letters."""
        rows = [row for row in self._ask(action="list")["queues"] if row["letters"] or row["held"]]
        for row in rows:
            age = row["oldest_age_seconds"]
            oldest = "" if age is None else f", the oldest {age:,} s old"
            held = f" and {row['held']:,} held" if row["held"] else ""
            self._show(f"{row['queue']:24} {row['letters']:,}{held}{oldest}")
        if not rows:
            self._show("no dead letters")

    def show(self, queue: str, ids: Sequence[str]) -> None:
        """A letter with its reason, times and body."""
        letters = self._ask(action="show", queue=queue, ids=ids)["letters"]
        for letter in letters:
            self._show(f"{letter['id']}  {letter['reason']}: {letter.get('detail', '')}")
            self._show(
                f"    {letter['attempts']} attempts, received {letter['receives']} times, sent {letter['sent_at']}, "
                f"first received {letter.get('first_received_at', 'now')}"
            )
            self._show(f"    {json.dumps(letter['body'], ensure_ascii=False)}")
        if not letters:
            self._show(f"no dead letters of {queue}")

    def replay(self, queue: str, ids: Sequence[str]) -> bool:
        """Those of the ids, or all (no ids), call after call until none is left; whether none failed or is missing."""
        asked: dict[str, Any] = {"ids": ids} if ids else {"all": True}
        failed: dict[str, str] = {}
        while True:
            done = self._ask(action="replay", queue=queue, **asked)
            failed |= done["failed"]
            self._show(f"{queue}: {len(done['replayed']):,} replayed")
            if done["is_complete"] or not done["replayed"]:
                break
            asked = {"ids": done["missing"]} if ids else {"all": True, "before_ms": done["before_ms"]}
            if ids and not done["missing"]:
                break
        for identifier, reason in failed.items():
            self._show(f"{identifier}  not replayed: {reason}")
        for identifier in done["missing"]:
            self._show(f"{identifier}  not found")
        return not failed and not done["missing"]

    def _ask(self, **event: object) -> Any:  # noqa: ANN401 (JSON)
        try:
            answer = self._client.invoke(FunctionName=self._function, Payload=json.dumps(event))
        except (BotoCoreError, ClientError) as fault:
            raise CloudError(f"{self._function} could not be asked: {fault}") from fault
        body = json.loads(answer["Payload"].read())
        if "FunctionError" in answer:
            raise CloudError(str(body.get("errorMessage", body)))
        return body
