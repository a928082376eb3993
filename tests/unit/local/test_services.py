"""What a cloud leaves behind is out of the way at once, however long the disk takes to forget it."""

from pathlib import Path

from local import services
from local.settings import Settings
from tests.support.servers import wait_until


def test_what_the_workers_unpacked_is_gone_at_once_and_deleted_soon_with_what_a_killed_run_left(tmp_path: Path) -> None:
    for folder in ("tmp/worker", "discarded-before/worker"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "module.py").write_text("")
    assert services.stop(Settings(home=tmp_path)) == []
    assert not (tmp_path / "tmp").exists()
    wait_until(lambda: list(tmp_path.iterdir()) == [], "an empty folder")
