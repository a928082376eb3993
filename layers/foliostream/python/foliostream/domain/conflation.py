"""Which price updates may be left out because another one says it all: for those who must not keep everything."""

from __future__ import annotations

from collections.abc import Iterable

from foliostream.domain.price import PriceUpdate


def covers(update: PriceUpdate, other: PriceUpdate) -> bool:
    """Whether storing ``update`` alone ends in the same price as storing both (of one symbol), ``other`` first.

    It must not be older and must carry every part the other has: quote and last are judged apart (price.merge), so an
    update of one never stands for one of the other.
    """
    return (
        update.order >= other.order
        and (update.has_quote or not other.has_quote)
        and (update.last is not None or other.last is None)
        and (update.open is not None or other.open is None)
        and (update.previous_close is not None or other.previous_close is None)
    )


def newest(updates: Iterable[PriceUpdate]) -> list[PriceUpdate]:
    """Those that no other one covers, one a symbol, or a few where they carry different parts; symbols in the
    order of their last arrival. With an equal (``ts``, ``seq``) the later arrival stays."""
    kept: dict[str, list[PriceUpdate]] = {}
    for update in updates:
        # Taken out and put in again, so that the symbols stand in the order of their last arrival.
        rest = [other for other in kept.pop(update.symbol, ()) if not covers(update, other)]
        covered = any(covers(other, update) and other.order > update.order for other in rest)
        kept[update.symbol] = rest if covered else [*rest, update]
    return [update for rest in kept.values() for update in rest]
