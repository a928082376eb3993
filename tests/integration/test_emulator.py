"""What is replaced in the emulator does what it replaces."""

import subprocess

from local import environments

# Both forget the same of the same queue, whatever was put in when: run where ministack is installed.
COMPARISON = """
import random, time
from ministack.services import sqs
import emulator

drawn, clock = random.Random(7), [1_000.0]
time.time = lambda: clock[0]
ours, theirs = {"dedup_cache": {}}, {"dedup_cache": {}}
forgotten = 0
for number in range(5_000):
    clock[0] += drawn.choice([0, 0.01, 1, 40])
    before = len(ours["dedup_cache"])
    emulator.prune_dedup(ours)
    sqs._prune_dedup(theirs)
    forgotten += before - len(ours["dedup_cache"])
    assert ours == theirs, number
    key = str(drawn.randrange(200))
    for queue in (ours, theirs):
        if key not in queue["dedup_cache"]:
            queue["dedup_cache"][key] = {"expire": clock[0] + sqs._DEDUP_WINDOW_S}
print(forgotten)
"""


def test_duplicates_are_forgotten_at_the_same_moment_as_by_the_emulator_itself() -> None:
    folder = environments.ROOT / "local"
    done = subprocess.run(
        [environments.CLOUD.python, "-c", COMPARISON],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1_000
