"""Several users at work while the engine's processes are killed: what they did, what they were promised, what is true.

All choices come from one seed; the order of choices of each user and of the killer is the same for the same seed.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from tests.tutorial.engine import Done, Engine, until

ROLES = ("daemon", "nats", "zygote", "warden", "keeper")
LONG = "trap 'echo usr1' USR1; trap 'exit 5' TERM; echo begun; while :; do sleep 0.05; done"
AT_ONCE = 4
"""Containers of one user at a time."""


@dataclass
class Owned:
    """A container of one user: what was acknowledged about it, and the status it ends with by itself (None: it does
    not)."""

    name: str
    status: int | None = None
    acknowledged: Counter[str] = field(default_factory=Counter)
    gone: bool = False


class User:
    """Does one thing after the other until told to stop."""

    def __init__(self, engine: Engine, number: int, seed: int, stop: threading.Event) -> None:
        self._engine, self._number, self._stop_asked = engine, number, stop
        self._random = random.Random(f"{seed}/{number}")
        self._count = 0
        self.owned: list[Owned] = []
        self.done = 0
        self.refused = 0
        self.wrong: list[str] = []

    def work(self) -> None:
        """What goes wrong is kept for who started us."""
        try:
            while not self._stop_asked.is_set():
                self._something()
        except Exception as error:  # a thread has nobody to raise to
            self.wrong.append(f"user {self._number}: {type(error).__name__}: {error}")

    def _something(self) -> None:
        living = [owned for owned in self.owned if not owned.gone and owned.status is None]
        if (len(living) < AT_ONCE and self._random.random() < 0.5) or not living:
            return self._begin()
        owned = self._random.choice(living)
        act = self._random.choice(
            (self._stop, self._restart, self._kill, self._signal, self._pause, self._commit, self._remove, self._look)
        )
        return act(owned)

    def _begin(self) -> None:
        self._count += 1
        name = f"u{self._number}-{self._count}"
        if self._random.random() < 0.5:
            status = self._random.randrange(1, 100)
            owned = Owned(name, status)
            self.owned.append(owned)
            done = self._cli("run", "--rm", "--name", name, "busybox", "sh", "-c", f"echo begun; exit {status}")
            if done.code == status:
                owned.acknowledged.update(("created", "start-requested", "started", "exited", "removed"))
                owned.gone = True
                if done.out != "begun\n":
                    self.wrong.append(f"{name}: its output was {done.out!r}")
            elif done.code != 125:
                self.wrong.append(f"{name}: {done}")
            return
        owned = Owned(name)
        self.owned.append(owned)
        if self._cli("run", "-d", "--name", name, "busybox", "sh", "-c", LONG).code == 0:
            owned.acknowledged.update(("created", "start-requested", "started"))

    def _stop(self, owned: Owned) -> None:
        if self._cli("stop", "-t", "10", owned.name).code == 0:
            self._is(owned, "exited", "created")

    def _restart(self, owned: Owned) -> None:
        if self._cli("restart", "-t", "10", owned.name).code == 0:
            owned.acknowledged.update(("start-requested", "started"))

    def _kill(self, owned: Owned) -> None:
        if self._cli("kill", owned.name).code == 0:
            owned.acknowledged.update(("kill-requested",))

    def _signal(self, owned: Owned) -> None:
        if self._cli("kill", "-s", "USR1", owned.name).code == 0:
            owned.acknowledged.update(("kill-requested", "signal-sent"))

    def _pause(self, owned: Owned) -> None:
        if self._cli("pause", owned.name).code == 0:
            owned.acknowledged.update(("pause-requested", "paused"))
            self._is(owned, "paused", "exited")
        if self._cli("unpause", owned.name).code == 0:
            owned.acknowledged.update(("unpause-requested", "unpaused"))
            self._is(owned, "running", "exited")

    def _commit(self, owned: Owned) -> None:
        if self._cli("commit", owned.name, f"snap:{owned.name}").code == 0:
            owned.acknowledged.update(("commit-requested", "committed"))

    def _remove(self, owned: Owned) -> None:
        if self._cli("rm", "-f", owned.name).code == 0:
            owned.gone = True
            done = self._cli("inspect", "-f", "{{.State.Status}}", owned.name)
            if done.code == 0:
                self.wrong.append(f"{owned.name} was removed and is {done.out}")

    def _look(self, owned: Owned) -> None:
        self._cli("ps", "-a")
        self._cli("logs", owned.name)

    def _is(self, owned: Owned, *states: str) -> None:
        """After an acknowledgement the state must be one of these, if the engine can be asked at all."""
        done = self._cli("inspect", "-f", "{{.State.Status}}", owned.name)
        if done.code == 0 and done.out.strip() not in states:
            self.wrong.append(f"{owned.name} should be {states} and is {done.out.strip()}")

    def _cli(self, *words: str) -> Done:
        done = self._engine.cli(*words, timeout=90)
        self.done += 1
        self.refused += done.code != 0
        if "Cannot connect" in done.err:
            until(lambda: self._engine.listens() or self._stop_asked.is_set(), "a daemon", 60)
        return done


@dataclass
class Killer:
    """Kills one process after the other; a daemon is started again at once, the others must come by themselves."""

    engine: Engine
    seed: int
    hits: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)

    def kill(self, number: int) -> None:
        """So many kills."""
        chance = random.Random(f"{self.seed}/killer")
        while sum(self.hits.values()) < number:
            time.sleep(chance.uniform(0.0, 0.8))  # the instant of a kill is what this test is about
            role = chance.choice(ROLES)
            self.hits.update(self.engine.kill(role).keys())
            if role == "daemon":
                begun = time.monotonic()
                self.engine.start()
                self.recoveries.append(time.monotonic() - begun)


def untrue(engine: Engine, users: list[User]) -> list[str]:
    """What the log says against what the users were promised and what the containers have written."""
    found = [line for user in users for line in user.wrong]
    rows = engine.rows()
    names = {str(row["name"]) for row in rows.values()}
    for owned in (owned for user in users for owned in user.owned):
        found += _lost(engine, owned, owned.name in names)
    return found


def _lost(engine: Engine, owned: Owned, exists: bool) -> list[str]:
    answer = engine.query("history", container=owned.name)
    if not answer["ok"]:
        return [f"{owned.name}: acknowledged and in no log"] if owned.acknowledged else []
    events = [(event["type"].rpartition(".")[0], event["data"]) for event in answer["events"]]
    counts = Counter(name for name, _ in events)
    found = [f"{owned.name}: {name} was {number} times acknowledged, the log has {counts[name]}"
             for name, number in owned.acknowledged.items() if counts[name] < number]
    if owned.gone and (exists or not counts["removed"]):
        found.append(f"{owned.name} was removed and is still there")
    begun = engine.logged(owned.name).count("begun")
    if begun > counts["started"]:
        found.append(f"{owned.name} was started {counts['started']} times and has begun {begun} times")
    if counts["started"] > counts["start-requested"]:
        found.append(f"{owned.name} was started more often than asked")
    return found + [f"{owned.name} ended with {data}, it should have been {owned.status}" for name, data in events
                    if name == "exited" and owned.status is not None and not _true(data, owned.status)]


def _true(exit: dict[str, object], status: int) -> bool:
    """The true status; or said to be unknown, which happens where keeper and warden have died together."""
    return exit["code"] == status or exit["how"] == "unknown"
