"""What functions wrote, of which there is more than one answer holds."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

from local import sam
from local.settings import REGION
from tests.support.ministack import Emulator


def test_all_lines_of_a_busy_function_are_read_once_each_and_in_their_order(ministack: Emulator) -> None:
    client: Any = replace(ministack, region=REGION).client("logs")
    group, count = f"/busy/{uuid.uuid4().hex}", 3 * sam.LOG_EVENTS_MAX
    client.create_log_group(logGroupName=group)
    begun_ms = int(time.time() * 1000) - count
    for start in range(0, count, 2_500):
        # Several lines a millisecond, as an invocation writes them, each invocation into a stream of its own.
        lines = [
            {"timestamp": begun_ms + number // 7, "message": str(number)} for number in range(start, start + 2_500)
        ]
        client.create_log_stream(logGroupName=group, logStreamName=str(start))
        client.put_log_events(logGroupName=group, logStreamName=str(start), logEvents=lines)
    found = sam.function_logs(ministack.endpoint, group)
    assert found == [f"{group}  {number}" for number in range(count)]
