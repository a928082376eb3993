"""``make chaos``: minutes of faults against the deployed local cloud, once with each hot store."""

from __future__ import annotations

import argparse
import sys
import time

from tests.chaos.run import Plan, run

STORES = ("valkey", "dynamodb")


def main() -> int:
    """1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="what is drawn: storms, traffic, faults (default 1)")
    parser.add_argument("--seconds", type=float, default=180, help="of faults, for each store (default 180)")
    parser.add_argument("--store", choices=STORES, help="only this one")
    options = parser.parse_args()
    begun = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"{time.monotonic() - begun:6.1f}  {text}\n")

    reports = [
        run(Plan(store, options.seed, options.seconds), say) for store in STORES if options.store in (None, store)
    ]
    for report in reports:
        sys.stdout.write("\n".join(report.lines()) + "\n")
    return 1 if any(report.violations for report in reports) else 0


if __name__ == "__main__":
    raise SystemExit(main())
