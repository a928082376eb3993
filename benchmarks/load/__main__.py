"""``make load``: 1,000 portfolios, 500 symbols, 200 ticks/s, 20 fills/s, 200 sockets for ten minutes, or else."""

from __future__ import annotations

import argparse
import sys

from benchmarks.load.plan import Plan
from benchmarks.load.run import run


def main() -> int:
    """1 where something was lost, failed or grew."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--portfolios", type=int, default=1_000)
    parser.add_argument("--symbols", type=int, default=500)
    parser.add_argument("--ticks", type=int, default=200, help="prices a second (default 200)")
    parser.add_argument("--fills", type=int, default=20, help="a second (default 20)")
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--shards", type=int, default=4)
    report = run(Plan(**vars(parser.parse_args())), lambda text: sys.stderr.write(text + "\n"))
    sys.stdout.write("\n".join(report.lines()) + "\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    raise SystemExit(main())
