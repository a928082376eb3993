"""Having an analysis computed: what cannot be started says so. That it is computed is told end to end."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, cast

import pytest

from foliostream.adapters.lambda_starter import LambdaStarter
from foliostream.domain.analysis_task import METRIC_NAMES, Task
from foliostream.domain.sessions import Run
from foliostream.errors import PermanentError
from tests.support.ministack import Emulator

if TYPE_CHECKING:
    from mypy_boto3_lambda import LambdaClient

RUN = Run(1, "r", "AAPL", "p1", 17, METRIC_NAMES, 0)


@pytest.fixture
def starter(ministack: Emulator) -> LambdaStarter:
    client = cast("LambdaClient", ministack.client("lambda"))
    return LambdaStarter(lambda: client, "nobody-analyze")


def test_a_function_that_is_not_there_is_nothing_to_try_again(starter: LambdaStarter) -> None:
    with pytest.raises(PermanentError, match="nobody-analyze"):
        starter.start(Task("s", RUN, {"AAPL": Decimal(1)}, {}))


def test_a_task_beyond_what_an_invocation_carries_is_refused(starter: LambdaStarter) -> None:
    with pytest.raises(PermanentError) as refused:
        starter.start(Task("s", RUN, {f"S{number:030d}": Decimal(1) for number in range(10_000)}, {}))
    assert refused.value.code == "TASK_TOO_LARGE"
