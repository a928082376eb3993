"""How long the demo runs."""

import pytest

from local.demo import demo_seconds
from local.settings import SettingsError


def test_without_the_variable_it_runs_until_it_is_stopped() -> None:
    assert demo_seconds({}) is None
    assert demo_seconds({"DEMO_SECONDS": ""}) is None


def test_a_number_of_seconds_ends_it() -> None:
    assert demo_seconds({"DEMO_SECONDS": "20"}) == 20.0


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf"])
def test_what_is_no_number_of_seconds_is_refused_by_name(text: str) -> None:
    with pytest.raises(SettingsError, match=f"DEMO_SECONDS={text}"):
        demo_seconds({"DEMO_SECONDS": text})
