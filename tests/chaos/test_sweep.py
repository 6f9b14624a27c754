"""The engine dies, fails or dawdles at every named place; whatever was promised holds, nothing is done twice.

Places are swept in lanes, each with an engine of its own, so that two of them run at a time.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

import pytest

from tests.chaos import points
from tests.chaos.story import LIFE, STUBBORN, ImageStory, Step, Story, unique
from tests.tutorial.engine import Engine, until
from tests.tutorial.fixtures import clean

LANES = 2
kernel = [pytest.mark.kernel, pytest.mark.slow]

Place = tuple[str, int]
"""A failpoint and the passing at which something happens."""

Visit = Callable[[Engine, str, int], None]


def test_every_failpoint_is_swept() -> None:
    """A new one must be added to the lists in `points`, or it is never tried."""
    templates = {"host.{name}", "child.{name}"}
    assert points.in_the_code() - templates | points.steps_of_plans() == points.swept()
    assert templates <= points.in_the_code()


class Lanes:
    """Engines that are handed from place to place."""

    def __init__(self, base_image: Path) -> None:
        self._image = base_image
        self._free: list[Engine] = []
        self._all: list[Engine] = []
        self._lock = Lock()

    def sweep(self, places: Sequence[Place], visit: Visit) -> None:
        """Visit all places; the test fails with the list of those where something was wrong."""
        with ThreadPoolExecutor(LANES) as pool:
            troubles = list(pool.map(lambda place: self._visited(place, visit), places))
        found = [f"{point}@{passing}: {trouble}" for (point, passing), trouble in zip(places, troubles, strict=True)
                 if trouble]
        assert not found, "\n".join(found)

    def close(self) -> list[str]:
        """End all engines; what was left behind."""
        return [line for engine in self._all for line in engine.close()]

    def _visited(self, place: Place, visit: Visit) -> str:
        engine = self._engine()
        try:
            visit(engine, *place)
            clean(engine)
        except Exception as error:  # of any kind: it is reported with the place, and the others are still visited
            with self._lock:
                self._all.remove(engine)
            said = engine.said()
            engine.close()
            return f"{type(error).__name__}: {error}\n{said[-1500:]}"
        with self._lock:
            self._free.append(engine)
        return ""

    def _engine(self) -> Engine:
        with self._lock:
            if self._free:
                return self._free.pop()
            engine = Engine()
            self._all.append(engine)
        engine.configure('access_log = "off"')  # passings of the store are counted, and a story looks all the time
        engine.start()
        engine.ok("import", str(self._image), "busybox")
        engine.ok("network", "create", "side")
        return engine


@pytest.fixture(scope="module")
def lanes(base_image: Path) -> Iterator[Lanes]:
    """For all tests of this file."""
    lanes = Lanes(base_image)
    yield lanes
    left = lanes.close()
    assert not left, left


def _one_each(names: Sequence[str]) -> list[Place]:
    return [(name, 1) for name in names]


ALWAYS = [(name, passing) for name, passings in points.ALWAYS.items() for passing in passings]


def _killed(story: Callable[[Engine, str], Story | ImageStory], steps: Sequence[Step]) -> Visit:
    """The daemon dies there; afterwards a clean one goes on."""

    def visit(engine: Engine, point: str, passing: int) -> None:
        engine.crash()
        engine.start(f"{point}=kill@{passing}")
        told = story(engine, unique())
        told.live(steps)
        assert told.deaths == 1, "nobody passed there"
        assert engine.ok("run", "--rm", "busybox", "echo", "next") == "next"

    return visit


def _faulty(action: str, story: Callable[[Engine, str], Story | ImageStory], steps: Sequence[Step]) -> Visit:
    """An error, or a delay, in a daemon that goes on."""

    def visit(engine: Engine, point: str, passing: int) -> None:
        engine.crash()
        engine.start(f"{point}={action}@{passing}")
        told = story(engine, unique())
        told.live(steps)
        assert told.deaths == 0
        assert engine.ok("run", "--rm", "busybox", "echo", "next") == "next"

    return visit


@pytest.mark.parametrize(
    ("places", "story", "steps"),
    [
        pytest.param(_one_each(points.ACTS), Story, LIFE, id="acts"),
        pytest.param(ALWAYS, Story, LIFE, id="always"),
        pytest.param(_one_each(points.STUBBORN), Story, STUBBORN, id="stubborn"),
        pytest.param(_one_each(points.IMAGES), ImageStory, (), id="images"),
    ],
)
@pytest.mark.kernel
@pytest.mark.slow
def test_the_daemon_dies(lanes: Lanes, places: Sequence[Place], story: type[Story], steps: Sequence[Step]) -> None:
    """No acknowledged step is lost, none is done twice, and a step that was not acknowledged can be asked again."""
    lanes.sweep(places, _killed(story, steps))


@pytest.mark.parametrize(
    ("places", "story", "steps"),
    [
        pytest.param(ALWAYS, Story, LIFE, id="always"),
        pytest.param(_one_each(points.IMAGES), ImageStory, (), id="images"),
    ],
)
@pytest.mark.kernel
@pytest.mark.slow
def test_the_daemon_meets_an_error(lanes: Lanes, places: Sequence[Place], story: type[Story],
                                   steps: Sequence[Step]) -> None:
    """A step may fail and say so; it works when it is asked again, and the engine is not stuck."""
    lanes.sweep(places, _faulty("error", story, steps))


@pytest.mark.kernel
@pytest.mark.slow
def test_every_act_meets_an_error(lanes: Lanes) -> None:
    """All in one life: each act is told again, after two seconds, until it has an outcome."""

    def visit(engine: Engine, group: str, passing: int) -> None:
        engine.restart(";".join(f"{point}=error@{passing}" for point in group.split()))
        story = Story(engine, unique())
        story.live(LIFE)
        assert story.failures == []

    lanes.sweep([(" ".join(points.ACTS[at::LANES]), 1) for at in range(LANES)], visit)


@pytest.mark.kernel
@pytest.mark.slow
def test_everything_dawdles(fresh: Engine) -> None:
    """A slow disk, a slow bus, a slow worker: the order of things stays."""
    places = (*points.ACTS, *points.ALWAYS, *points.STUBBORN, *points.WARDEN, *points.ZYGOTE, *points.CHILD)
    fresh.ok("network", "create", "side")
    fresh.stop()
    fresh.shut_down()
    fresh.start(";".join(f"{point}=delay:0.01" for point in places))
    for steps in (LIFE, STUBBORN):
        story = Story(fresh, unique())
        story.live(steps)
        assert story.failures == []


def _in_a_new_tree(engine: Engine, failpoints: str) -> None:
    engine.stop()
    engine.shut_down()
    engine.start(failpoints)


def _supervisor(action: str) -> Visit:
    """A fault in a small process; it is replaced and nobody notices more than one failed step."""

    def visit(engine: Engine, point: str, passing: int) -> None:
        _in_a_new_tree(engine, f"{point}={action}@{passing}")
        role = "zygote" if point.startswith("zygote.") else "warden"
        before = engine.processes()[role]
        story = Story(engine, unique())
        story.live(LIFE)
        assert story.deaths == 0
        if action == "kill":
            assert engine.processes()[role] != before, "nobody passed there"
            assert story.failures == []

    return visit


@pytest.mark.parametrize("action", ["kill", "error"])
@pytest.mark.kernel
@pytest.mark.slow
def test_a_small_process_meets_a_fault(lanes: Lanes, action: str) -> None:
    """The life of a container goes on as if nothing had happened."""
    places = [point for point in (*points.WARDEN, *points.ZYGOTE) if action == "kill" or point not in points.OUTPUT]
    lanes.sweep(_one_each(places), _supervisor(action))


@pytest.mark.parametrize("action", ["kill", "error", "delay:0.1"])
@pytest.mark.kernel
@pytest.mark.slow
def test_a_fault_while_another_one_is_mended(lanes: Lanes, action: str) -> None:
    """The second death comes during the recovery from the first: the container may end, but nobody is left unknown."""

    def visit(engine: Engine, point: str, passing: int) -> None:
        _in_a_new_tree(engine, f"{point}={action}@{passing}")
        name = unique()
        engine.shell("echo begun; sleep 600", name=name)
        engine.written(name, "begun")
        engine.kill(points.RECOVERY[point])
        until(lambda: engine.ok("run", "--rm", "busybox", "echo", "next") == "next", "another one runs")
        assert engine.state(name) in ("running", "exited")
        engine.ok("rm", "-f", name)

    lanes.sweep(_one_each(tuple(points.RECOVERY)), visit)


@pytest.mark.parametrize("action", ["kill", "error"])
@pytest.mark.kernel
@pytest.mark.slow
def test_a_newborn_process_meets_a_fault(lanes: Lanes, action: str) -> None:
    """The start fails with a reason and leaves nothing; the same container starts as soon as the fault is gone."""

    def visit(engine: Engine, point: str, passing: int) -> None:
        _in_a_new_tree(engine, f"{point}={action}")
        name = unique()
        script = ("sh", "-c", "echo begun; sleep 600")
        more = ("--network", "none", "--tmpfs", "/scratch", "--domainname", "chaos", "--ulimit", "core=0",
                "--security-opt", "no-new-privileges", "--device", "/dev/null:/dev/own", "-v", "/usr:/host:ro",
                "-v", "/etc",
                *(("--userns", "remap") if point in points.REMAPPED else ("--ipc", "host")))
        done = engine.cli("run", "-d", *more, "--name", name, "busybox", *script)
        if (point, action) == ("child.Execute", "kill"):
            engine.reaches(name, "exited")  # it had said that it executes: this is the end of a run
        else:
            assert done.code == 125, done
            assert engine.state(name) == "created"
        assert engine.groups() == {}
        engine.kill("zygote")  # the next one is not armed
        until(lambda: engine.cli("start", name).code == 0, "it starts")
        engine.written(name, "begun")
        assert engine.logged(name) == ["begun"]
        engine.ok("rm", "-f", name)

    lanes.sweep(_one_each(points.CHILD), visit)
