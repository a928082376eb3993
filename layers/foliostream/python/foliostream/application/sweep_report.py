"""What a run of the sweep did and found."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class SweepReport:
    """Found lost, each should be 0: portfolios whose promise was never kept (``late``) and for how many that was given
    up; records nobody can read; snapshots older than their prices with no promise (``lost``); prices the hot store
    lost (``restored``); dependents that were missing.

    Work: portfolios whose promise was left but kept by others (``overtaken``), compared and repaired ones, symbols gone
    stale and rechecked, prices checkpointed, dependents removed that were not needed. ``broken``: portfolio id -> why
    its book cannot be read. ``failed``: step -> why; it goes on with the next run.
    """

    late: int = 0
    given_up: int = 0
    unreadable: int = 0
    lost: int = 0
    restored: int = 0
    missing: int = 0
    overtaken: int = 0
    compared: int = 0
    repaired: int = 0
    stale: int = 0
    rechecked: int = 0
    checkpointed: int = 0
    removed: int = 0
    marked: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def finds(self) -> int:
        """Everything that was lost."""
        return self.late + self.given_up + self.unreadable + self.lost + self.restored + self.missing
