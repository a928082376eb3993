"""The machine's clock."""

from __future__ import annotations

import time


class SystemClock:
    """Implements ``ports.Clock`` with the wall clock."""

    def now_ms(self) -> int:
        """Epoch milliseconds."""
        return time.time_ns() // 1_000_000

    def wait_until(self, at_ms: int) -> None:
        """Return when ``now_ms() >= at_ms``."""
        # Asked again after each sleep: the wall clock may be set back meanwhile, and a sleep may end a little early.
        while (left_ms := at_ms - self.now_ms()) > 0:
            time.sleep(left_ms / 1000)
