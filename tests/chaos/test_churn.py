"""Random deaths during random work. LADING_CHAOS_KILLS says how many (40), LADING_CHAOS_SEED repeats a run."""

import os
import threading
import time
from collections.abc import Callable

import pytest

from tests.chaos.churn import Killer, User, untrue
from tests.tutorial.engine import Engine
from tests.tutorial.fixtures import clean
from tests.tutorial.truth import contradictions, settled

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

KILLS = int(os.environ.get("LADING_CHAOS_KILLS", "40"))
SEED = int(os.environ.get("LADING_CHAOS_SEED", "0")) or time.time_ns() % 1_000_000
USERS = 4
RECOVERY = 5.0


def _patience() -> float:
    """Recovery takes longer in the measure in which others use this machine."""
    return RECOVERY * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def test_random_deaths_during_work(fresh: Engine, record_testsuite_property: Callable[[str, object], None]) -> None:
    """Nothing acknowledged is lost, nothing done twice, nothing left over, and the engine is back within seconds."""
    stop = threading.Event()
    users = [User(fresh, number, SEED, stop) for number in range(USERS)]
    killer = Killer(fresh, SEED)
    threads = [threading.Thread(target=user.work) for user in users]
    for thread in threads:
        thread.start()
    try:
        killer.kill(KILLS)
    finally:
        stop.set()
        for thread in threads:
            thread.join(180)
    story = f"seed {SEED}, {dict(killer.hits)}, {sum(user.done for user in users)} commands of which " \
            f"{sum(user.refused for user in users)} failed, recoveries up to {max(killer.recoveries, default=0):.2f} s"
    if fresh.dead():
        fresh.start()
    settled(fresh)
    found = untrue(fresh, users) + contradictions(fresh)
    assert not found, f"{story}\n" + "\n".join(found)
    assert max(killer.recoveries, default=0) < _patience(), story
    clean(fresh)
    record_testsuite_property("churn", story)
