import json
from dataclasses import asdict
from pathlib import Path

import pytest

from local.cloud import Outputs, merged_parameters, read_outputs
from local.services import CloudError, Services
from local.settings import Settings, SettingsError

RUNNING = Services(emulator=4566, valkey=6379, valkey_bus=6380, jwks=8000, kite=8001)
TEMPLATE: dict[str, str | None] = {
    "HotStore": "dynamodb",
    "RedisUrl": "",
    "JwtIssuer": None,
    "JwtAudience": None,
    "JwksUrl": None,
    "ExecuteApiBase": "",
    "ProtectLedger": "on",
    "FillsOwner": "",
    "KiteRoot": "",
    "KiteHours": "",
    "Shards": "64",
}


def test_every_parameter_is_given_so_that_none_keeps_the_value_of_the_last_deployment() -> None:
    parameters = merged_parameters(TEMPLATE, RUNNING, {})
    assert set(parameters) == set(TEMPLATE)
    assert parameters["Shards"] == "64"


def test_the_functions_are_told_where_this_cloud_answers() -> None:
    parameters = merged_parameters(TEMPLATE, RUNNING, {})
    assert parameters["HotStore"] == "valkey"
    assert parameters["RedisUrl"] == "redis://127.0.0.1:6379"
    assert parameters["JwksUrl"] == "http://127.0.0.1:8000/jwks.json"
    assert parameters["ExecuteApiBase"] == "http://127.0.0.1:4566/_aws/execute-api"


def test_what_the_user_set_goes_over_what_the_launcher_would_set() -> None:
    own = {"HotStore": "dynamodb", "JwtIssuer": "https://issuer.example.com", "Shards": "8"}
    assert merged_parameters(TEMPLATE, RUNNING, own).items() >= own.items()


def test_a_template_without_what_the_launcher_needs_is_refused() -> None:
    template = {name: default for name, default in TEMPLATE.items() if name != "ExecuteApiBase"}
    with pytest.raises(SettingsError, match="ExecuteApiBase"):
        merged_parameters(template, RUNNING, {})


def test_outputs_are_read_back_as_they_were_written_and_nothing_from_a_broken_file(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert read_outputs(settings) is None
    outputs = Outputs("http://r", "ws://w", "http://a", "k", "s", "us-east-1", "foliostream", "t", "redis://v", {}, {})
    settings.outputs.write_text(json.dumps(asdict(outputs)))
    assert read_outputs(settings) == outputs
    settings.outputs.write_text('{"rest_url": "ht')
    assert read_outputs(settings) is None


def test_a_failure_shows_the_end_of_its_logs_and_where_they_are(tmp_path: Path) -> None:
    log = tmp_path / "emulator.log"
    log.write_text("\n".join(f"line {number}" for number in range(100)))
    report = CloudError("the emulator ended", log, tmp_path / "missing.log").report(lines=3)
    assert report.splitlines()[0] == "the emulator ended"
    assert "line 97\nline 98\nline 99" in report
    assert "line 96" not in report
    assert str(log) in report
