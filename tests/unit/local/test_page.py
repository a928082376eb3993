"""The page where Node is missing or too old. Does not find: whether it builds, which `make page` does."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from local import demo, page
from local.cloud import Outputs
from local.settings import Settings

OUTPUTS = Outputs(
    rest_url="http://127.0.0.1:9/live",
    ws_url="ws://127.0.0.1:9/live",
    aws_endpoint="http://127.0.0.1:9",
    aws_access_key_id="test",
    aws_secret_access_key="test",
    region="us-east-1",
    stack_name="foliostream",
    token="a.b.c",
    redis_url="redis://127.0.0.1:9",
    ports={},
    resources={},
)


@pytest.fixture(autouse=True)
def nothing_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "BUILT", tmp_path / "built")
    monkeypatch.setattr(page, "CACHE", tmp_path)


def test_without_node_the_page_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(page.PageError, match=r"Node 20 or newer with npm is needed; all else works"):
        page.up(Settings(home=tmp_path), OUTPUTS)


def test_an_older_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("node", "npm"):
        (tmp_path / name).write_text("#!/bin/sh\necho v18.19.0\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: str(tmp_path / name))
    with pytest.raises(page.PageError, match=r"Node 20 or newer is needed, this is v18\.19\.0"):
        page.up(Settings(home=tmp_path), OUTPUTS)


def test_the_demo_goes_on_without_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert demo.page_address(Settings(home=tmp_path), OUTPUTS) is None
    assert "Node 20 or newer with npm is needed; all else works" in capsys.readouterr().out
