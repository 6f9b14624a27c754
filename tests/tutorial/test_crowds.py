"""Many at once: nobody fails, nobody waits for ever, and of those who want the same thing one gets it."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.tutorial.engine import Done, Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def _together(number: int, act: Callable[[int], Done]) -> list[Done]:
    with ThreadPoolExecutor(number) as pool:
        return list(pool.map(act, range(number)))


def test_two_hundred_lists_at_once(engine: Engine) -> None:
    """All are answered, with the same."""
    engine.ok("run", "-d", "--name", "it", "busybox", "sleep", "600")
    answers = _together(200, lambda _: engine.cli("ps", "--format", "{{.Names}}", timeout=60))
    assert {(done.code, done.out, done.err) for done in answers} == {(0, "it\n", "")}


def test_forty_runs_at_once(engine: Engine) -> None:
    """Each gets its own output and its own status."""
    def run(number: int) -> Done:
        script = f"echo out {number}; echo err {number} >&2; exit {number}"
        return engine.cli("run", "--rm", "busybox", "sh", "-c", script, timeout=90)

    for number, done in enumerate(_together(40, run)):
        assert (done.code, done.out, done.err) == (number, f"out {number}\n", f"err {number}\n")


def test_twenty_racers_for_one_name(engine: Engine) -> None:
    """Exactly one wins; the others are told who, and leave nothing."""
    racers = _together(20, lambda _: engine.cli("run", "-d", "--name", "prize", "busybox", "sleep", "600", timeout=60))
    winners = [done for done in racers if done.code == 0]
    assert len(winners) == 1
    holder = winners[0].out.strip()
    assert engine.everything() == [holder]
    for done in racers:
        if done.code:
            assert (done.code, done.out) == (125, "")
            assert f'The container name "/prize" is already in use by container "{holder}"' in done.err


def test_twenty_want_to_remove_the_same(engine: Engine) -> None:
    """One does, the others find it gone or going; it is removed once."""
    id = engine.ok("run", "-d", "--name", "it", "busybox", "sleep", "600")
    answers = _together(20, lambda _: engine.cli("rm", "-f", "it", timeout=60))
    assert all(done.code in (0, 1) for done in answers)
    assert any(done.out == "it\n" for done in answers)
    assert engine.everything() == []
    assert engine.steps(id).count("removed") == 1


def test_twenty_start_and_stop_the_same(engine: Engine) -> None:
    """In whatever order: it ends in one state, and has begun as often as the log says."""
    script = "trap 'exit 5' TERM; echo begun; while :; do sleep 0.02; done"
    engine.ok("create", "--name", "it", "busybox", "sh", "-c", script)
    verbs = ("start", "stop")
    answers = _together(20, lambda number: engine.cli(verbs[number % 2], "it", timeout=90))
    assert all(done.code in (0, 1) for done in answers), answers
    assert engine.state("it") in ("running", "exited", "created")
    engine.ok("stop", "it")
    assert engine.logged("it").count("begun") <= engine.steps("it").count("started")
