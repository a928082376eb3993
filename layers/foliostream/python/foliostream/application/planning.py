"""Books as they come from the store, each decoded and planned once as long as it does not change."""

from __future__ import annotations

from typing import NamedTuple

from foliostream.domain import assessing
from foliostream.domain import portfolio as books
from foliostream.domain.assessing import Plan
from foliostream.recent import Recent

# A book of ten positions is 3 KB, its plan about as much (one in several currencies keeps its portfolio: 15 KB more).
# Books count fully, plans are not measured: 64 MB here are about 200 MB in the worst case, of 1,769 MB.
PLANS_MAX = 20_000
BOOK_BYTES_MAX = 64_000_000


class _Planned(NamedTuple):
    book: bytes
    plan: Plan


class Plans:
    """The plans of stored books. A book is known by its very bytes, so whatever stands in the store is what is valued;
    who values computes in the decimal context ``money.EXACT``."""

    def __init__(self, plans_max: int = PLANS_MAX, bytes_max: int = BOOK_BYTES_MAX) -> None:
        self._kept: Recent[_Planned] = Recent(plans_max, bytes_max)

    def of(self, portfolio_id: str, book: bytes) -> Plan:
        """``msgspec.MsgspecError`` for a book that cannot be read, ``ArithmeticError`` for one that is no sum."""
        known = self._kept.get(portfolio_id)
        if known is not None and known.book == book:
            return known.plan
        plan = assessing.plan(books.decode(book))
        self._kept.put(portfolio_id, _Planned(book, plan), len(book))
        return plan
