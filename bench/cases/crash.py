"""The daemon is killed while containers run: they must not notice, and it must be back soon."""

import time
from concurrent.futures import ThreadPoolExecutor

from bench.engines.lading import Lading
from bench.image import REFERENCE
from bench.process import Failed, start_time, until
from bench.report import Row, bound
from bench.samples import Summary, summary
from bench.setting import Setting

RUNNING = 500


def measure(setting: Setting) -> list[Row]:
    """Seconds from the SIGKILL until a client gets its list again, from a daemon started at once."""
    count = setting.times(RUNNING, least=20)
    engine = setting.another_lading("lading-crash")
    _fill(engine, count)
    before = _identities(engine)
    taken, survivors = [], []
    for _ in range(3):
        taken.append(_once(engine, count))
        survivors.append(len(before & _identities(engine)))
    engine.remove_all()
    engine.close()
    left = min(survivors)
    return [
        bound(f"daemon killed, {count} running: ps answers after", "s", summary(taken), 5),
        bound(f"daemon killed, {count} running: untouched", "containers", Summary(1, left, left, left), count,
              at_most=False),
    ]


def _fill(engine: Lading, count: int) -> None:
    command = engine.command("run", "-d", "--network", "none", REFERENCE, "sleep", "100000")
    with ThreadPoolExecutor(4) as pool:
        for outcome in [pool.submit(command) for _ in range(count)]:
            outcome.result()
    until(lambda: len(engine.container_processes()) == count, f"{count} containers")


def _once(engine: Lading, count: int) -> float:
    begin = time.monotonic()
    engine.crash()
    engine.start()
    taken = time.monotonic() - begin
    listed = len(engine.command("ps", "-q").output().split())
    if listed != count:
        raise Failed(f"{listed} of {count} containers are listed after the crash")
    return taken


def _identities(engine: Lading) -> set[tuple[int, int]]:
    """(pid, start time) names a process for ever."""
    return {(pid, start_time(pid)) for pid in engine.container_processes()}
