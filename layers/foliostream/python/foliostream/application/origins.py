"""What set off the work of an invocation, so that a tick can be followed by one id to the messages that it led to.

The id is that of the price event (EventBridge), of the REST request, or the place of the record in its topic. It goes
with every dirty and push message that is sent because of it. Work is gathered on the way, ids are not: of messages for
the same promise only the first is kept, with its ids, and of many ids only so many go on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest

# Of a message; more would be a visible part of a bundle.
ORIGINS_MAX = 10
ORIGIN_CHARACTERS_MAX = 100


@dataclass
class Origins:
    """Of the event that is worked on now: a container has one at a time."""

    ids: list[str] = field(default_factory=list)

    def begin(self, *found: Sequence[str]) -> None:
        """Another event: the first id of each of its messages goes on before the second of any."""
        turns = chain.from_iterable(zip_longest(*found, fillvalue=""))
        self.ids = list(dict.fromkeys(name[:ORIGIN_CHARACTERS_MAX] for name in turns if name))[:ORIGINS_MAX]
