"""Clouds for tests: of their own, beside whatever `make up` runs, on free ports."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from local import cloud
from local.environments import CACHE
from local.settings import Settings

KEEP = "FOLIOSTREAM_KEEP"


def settings_of(name: str = "test", **portfolio: str) -> Settings:
    """The settings of the cloud `.local/{name}`; `portfolio` are PORTFOLIO_* variables, those of the shell are not."""
    return Settings(home=CACHE / name, port=0, portfolio=portfolio)


@contextmanager
def running_cloud(settings: Settings) -> Iterator[cloud.Outputs]:
    """The application deployed into a cloud, stopped at the end; FOLIOSTREAM_KEEP=1 keeps it for the next, quick run.

    Calling `cloud.up` meanwhile with other PORTFOLIO_* settings of the same home deploys anew into the same cloud.
    """
    try:
        yield cloud.up(settings)
    finally:
        if not os.environ.get(KEEP):
            cloud.down(settings)
