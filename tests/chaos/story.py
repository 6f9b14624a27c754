"""A container's life told as steps that may fail; after each failure the engine is brought back, the truth is checked,
and the same step is tried again."""

import io
import os
import tarfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.tutorial.engine import Done, Engine, until
from tests.tutorial.truth import contradictions, settled

SCRIPT = "trap 'echo usr1' USR1; trap 'echo term; exit 5' TERM; echo begun; while :; do sleep 0.02; done"
GONE, NEVER = "gone", "never"
MOST_TRIES = 4


@dataclass(frozen=True)
class Step:
    """A command line, the state it leads to (`never`: nothing can be seen, it must be acknowledged), and what stands in
    the log once it was acknowledged. `{name}` is the container's."""

    words: tuple[str, ...]
    state: str
    events: tuple[str, ...]
    otherwise: tuple[str, ...] = ()


RUN = Step(("run", "-d", "--name", "{name}", "busybox", "sh", "-c", SCRIPT), "running",
           ("created", "start-requested", "started"), otherwise=("start", "{name}"))
LIFE = (
    RUN,
    Step(("exec", "{name}", "echo", "hello"), NEVER, ("exec-requested", "exec-started", "exec-exited")),
    Step(("update", "--pids-limit", "99", "{name}"), "running", ("limits-requested", "limits-changed")),
    Step(("network", "connect", "side", "{name}"), "running", ("connect-requested", "connected")),
    Step(("network", "disconnect", "side", "{name}"), "running", ("disconnect-requested", "disconnected")),
    Step(("pause", "{name}"), "paused", ("pause-requested", "paused")),
    Step(("unpause", "{name}"), "running", ("unpause-requested", "unpaused")),
    Step(("kill", "-s", "USR1", "{name}"), NEVER, ("kill-requested", "signal-sent")),
    Step(("commit", "{name}", "snap:{name}"), NEVER, ("commit-requested", "committed")),
    Step(("stop", "-t", "20", "{name}"), "exited", ("stop-requested", "exited")),
    Step(("start", "{name}"), "running", ("start-requested", "started")),
    Step(("kill", "{name}"), "exited", ("kill-requested",)),
    Step(("rm", "{name}"), GONE, ("remove-requested", "removed")),
)
SHORT = (RUN, Step(("rm", "-f", "{name}"), GONE, ("remove-requested", "removed")))
STUBBORN = (
    Step(("run", "-d", "--name", "{name}", "busybox", "sh", "-c", "echo begun; exec sleep 600"), "running",
         ("created", "start-requested", "started"), otherwise=("start", "{name}")),
    Step(("stop", "-t", "0", "{name}"), "exited", ("stop-requested", "exited")),
    Step(("rm", "{name}"), GONE, ("remove-requested", "removed")),
)


@dataclass
class Story:
    """What has happened to one container so far."""

    engine: Engine
    name: str
    acknowledged: Counter[str] = field(default_factory=Counter)
    failures: list[Done] = field(default_factory=list)
    deaths: int = 0

    def live(self, steps: Sequence[Step]) -> None:
        """All steps, to the end, whatever fails on the way; then everything that must hold."""
        for step in steps:
            self._carry_out(step)
        self.recover()
        self._check_once()
        self._forget_image()

    def _carry_out(self, step: Step) -> None:
        """Until it was acknowledged, or its goal is reached."""
        for _ in range(MOST_TRIES):
            words = step.otherwise if step.otherwise and self._state() not in (GONE, "") else step.words
            done = self.engine.cli(*(word.format(name=self.name) for word in words))
            if done.code == 0:
                self.acknowledged.update(step.events if words == step.words else step.events[1:])
                self._reach(step)
                return
            self.failures.append(done)
            self.recover()
            if step.state != NEVER and self._state() == step.state:
                self._reach(step)
                return
        raise AssertionError(f"{step.words[0]} never worked: {[done.err for done in self.failures]}")

    def _reach(self, step: Step) -> None:
        if step.state == "running":
            self._wait(lambda: self._lines()["begun"] >= self._events()["started"], f"{self.name} has begun")
        elif step.state != NEVER:
            self._wait(lambda: self._state() == step.state, f"{self.name} becomes {step.state}")

    def _wait(self, condition: object, what: str) -> None:
        """The daemon may die while something is awaited."""
        assert callable(condition)

        def holds() -> bool:
            if not self.engine.listens():
                self.recover()
            return bool(condition())

        until(holds, what)

    def recover(self) -> None:
        """Bring the daemon back if it has died; then log, rows and kernel agree, and what was promised is there."""
        if self.engine.dead():
            self.deaths += 1
            self.engine.start()
        settled(self.engine)
        found = contradictions(self.engine)
        assert not found, found
        events = self._events()
        lost = {event: number for event, number in self.acknowledged.items() if events[event] < number}
        assert not lost, f"acknowledged and lost: {lost}, the log has {events}"

    def _check_once(self) -> None:
        """Each start ran once, each signal arrived, however often something was asked or told."""
        events, lines = self._events(), self._lines()
        assert lines["begun"] == events["started"], (events, lines)
        if events["signal-sent"]:
            asked = events["kill-requested"]
            assert 1 <= lines["usr1"] <= asked, (events, lines)
        if lines["term"] or (self.acknowledged["stop-requested"] and lines["usr1"]):
            assert lines["term"] == 1, (events, lines)

    def _forget_image(self) -> None:
        if self._events()["committed"]:
            self.engine.ok("rmi", f"snap:{self.name}")

    def _state(self) -> str:
        done = self.engine.cli("inspect", "-f", "{{.State.Status}}", self.name)
        return done.out.strip() if done.code == 0 else GONE if "No such" in done.err else ""

    def _events(self) -> Counter[str]:
        done = self.engine.cli("audit", "--format", "{{.Event}}", self.name)
        return Counter(done.lines)

    def _lines(self) -> Counter[str]:
        return Counter(self.engine.logged(self.name))


@dataclass
class ImageStory:
    """An image comes and goes, and its content with it."""

    engine: Engine
    name: str
    deaths: int = 0
    failures: list[Done] = field(default_factory=list)

    def live(self, steps: Sequence[Step] = ()) -> None:
        """Import, remove, and the store is as it was."""
        engine, reference = self.engine, f"image-{self.name}:1"
        before = engine.stored_layers()
        archive = engine.folder / f"{self.name}.tar"
        with tarfile.open(archive, "w") as tar:
            member = tarfile.TarInfo("unique")
            content = os.urandom(1000)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        self._until(("import", str(archive), reference), lambda: engine.cli("inspect", reference).code == 0)
        assert engine.stored_layers() > before
        self._until(("rmi", reference), lambda: engine.cli("inspect", reference).code == 1)
        self.recover()
        assert engine.open_intents() == 0
        until(lambda: engine.stored_layers() == before, f"nothing stays: {engine.stored_layers() ^ before}", 10)

    def _until(self, words: tuple[str, ...], reached: object) -> None:
        assert callable(reached)
        for _ in range(MOST_TRIES):
            done = self.engine.cli(*words)
            if done.code == 0:
                return
            self.failures.append(done)
            self.recover()
            if reached():
                return
        raise AssertionError(f"{words[0]} never worked: {[done.err for done in self.failures]}")

    def recover(self) -> None:
        """See Story."""
        if self.engine.dead():
            self.deaths += 1
            self.engine.start()
        elif self.engine.open_intents():
            self.engine.restart()  # or in an hour: a removal that has met an error is carried on
        found = contradictions(self.engine)
        assert not found, found


def unique() -> str:
    """A name that no other story had."""
    return f"s{time.monotonic_ns() // 1000 % 10**9}"
