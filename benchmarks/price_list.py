"""What AWS asks, in one table: list prices of us-east-1 without free tiers, discounts or volume steps.

None was read from AWS's own price pages: ``source`` says where a figure comes from and when that was read.
"""

from typing import NamedTuple

SQS_CHUNK_BYTES = 64 * 1024
WRITE_UNIT_BYTES = 1024
READ_UNIT_BYTES = 4096
ECPU_BYTES = 1024


class Price(NamedTuple):
    """US dollars for a million of ``unit``."""

    usd_per_million: float
    unit: str
    source: str


_CLOUDBURN = "cloudburn.io (2026-03), read 2026-11-21"
_CLOUDCHIPR = "cloudchipr.com (2024), read 2026-11-21"
_USAGE = "usage.ai (2026-06), read 2026-11-21"
_MEMORY = "from memory, no source read (price since 2024-11)"
PRICES = {
    "sqs_fifo": Price(0.50, "requests to a FIFO queue, a request per 64 KiB", _CLOUDBURN),
    "sqs_standard": Price(0.40, "requests to a standard queue, a request per 64 KiB", _CLOUDBURN),
    "lambda_requests": Price(0.20, "invocations", _CLOUDCHIPR),
    "lambda_gb_seconds": Price(13.3334, "GB-seconds on arm64, first 7.5 billion a month", _CLOUDCHIPR),
    "dynamodb_writes": Price(0.625, "write request units of 1 KB, on demand", _MEMORY),
    "dynamodb_reads": Price(0.125, "read request units of 4 KB, strongly consistent", _MEMORY),
    "ecpu": Price(0.0023, "processing units of ElastiCache Serverless for Valkey", _USAGE),
    "events": Price(1.00, "custom events on EventBridge, an event per 64 KiB", "from memory, no source read"),
}


def usd(unit: str, count: float) -> float:
    """What ``count`` of a unit of the table cost."""
    return PRICES[unit].usd_per_million * count / 1e6
