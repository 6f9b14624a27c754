"""The warden: starts containers, moves their output, sees their end, records it, tells the daemon.

One epoll loop, no threads. It can be killed at any point: the keeper has a second set of every descriptor and starts
the next warden, which finds each run in one of these states and goes on:

    pipes, no pidfd      nothing was executed (that needs "go", and "go" needs the pidfd at the keeper): undone
    status and pidfd     "go" may have been sent: sent (again)
    pidfd                executed: watched on
    exit in the journal  only the grave is left to dig

A control group without any of this belongs to a tree whose keeper and warden were both killed: its processes have no
owner; they are killed, and their exit is recorded as unknown.

Descriptors at birth: 2 error log, 3 sealed interpreter, 4 lock of the data root, 5 the keeper, 6 the listening socket.
"""

import errno
import os
import resource
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from adapters.kernel import apply, cgroups
from adapters.kernel.supervisor import faults, handover, interpreter, keeper, loop, process
from adapters.kernel.supervisor.desk import Desk, failure
from adapters.kernel.supervisor.journal import Journal
from adapters.kernel.supervisor.nursery import Nursery
from adapters.kernel.supervisor.output import PIPE_SIZE
from adapters.kernel.supervisor.run import CLONED, ENDED, PREPARING, STARTED, Group, Run
from adapters.kernel.supervisor.wire import Message
from domain.errors import LadingError
from domain.failpoints import failpoint

INTERPRETER, LOCK, KEEPER, LISTENER = 3, 4, 5, 6
_FRAMES_A_TURN = 8
_SET_UP_SECONDS = 120.0
_UNKNOWN_AFTER = 2.0
_JOURNAL_RETRY = 1.0
_MOST_TRIES = 3
_PATIENCE_WITH_DYING = 20.0
_COMEBACK = 5.0  # how long readers have to come back to a new warden before output that they need may be deleted


class Warden:
    """See the module."""

    def __init__(self, options: dict[str, str]) -> None:
        self.options = options
        self._loop = loop.Loop()
        self.runs: dict[tuple[str, int], Run] = {}
        self._by_pid: dict[int, Run] = {}
        self._ready: list[Run] = []
        self._over: dict[str, Run] = {}  # ended, by container; somebody still needs of their output
        self._awaited: set[str] = set()  # containers whose readers may still come back
        self.leaving = False
        self._ownerless = 0  # groups that no run owns and whose last process the kernel has not ended yet
        self._keeper = socket.socket(fileno=KEEPER)
        held, statuses = self._take_back()
        self.journal = Journal(os.path.join(self.options["data"], "state", "exits.journal"))
        self._tree = cgroups.detect(self.options["root"])
        self._tree.prepare()
        self.nursery = Nursery(self._loop, self.options, INTERPRETER,
                               cloned=self._cloned, failed=self._clone_failed, died=self._starter_died)
        self._desk = Desk(self._loop, socket.socket(fileno=LISTENER), self)
        for entry in held:
            self._recover(Run.taken_back(entry))
        self._loop.later(_COMEBACK, self.readers_are_back)
        for pid, status in statuses:
            self._orphan(pid, status)
        self._end_ownerless()
        self._loop.watch(KEEPER, self._keeper_event)

    def run(self) -> None:
        """Until told to leave."""
        while True:
            self._loop.turn()
            self._desk.ring()
            self._record_exits()
            if self.leaving and not self.runs and not self._ownerless:
                self._leave()

    # The keeper ------------------------------------------------------------------------------------------------------

    def _take_back(self) -> tuple[list[handover.Held], list[tuple[int, int]]]:
        """Everything the keeper holds for us, at birth."""
        held: list[handover.Held] = []
        statuses: list[tuple[int, int]] = []
        while parcel := handover.receive(self._keeper):
            if parcel.letter == handover.END:
                break
            if parcel.letter == handover.HOLD:
                held.append(handover.held(parcel)[1])
            elif parcel.letter == handover.STATUS:
                statuses.append((int(parcel.fields[0]), int(parcel.fields[1])))
        return held, statuses

    def _hold(self, run: Run) -> None:
        try:
            handover.send_held(self._keeper, run.name.encode(), run.held())
        except OSError:
            self._succeed()

    def _tell_keeper(self, letter: bytes, field: bytes) -> None:
        try:
            handover.send(self._keeper, letter, field)
        except OSError:
            self._succeed()

    def _keeper_event(self, events: int) -> None:
        parcel = handover.receive(self._keeper)
        if parcel is None:
            self._succeed()
        elif parcel.letter == handover.STATUS:
            self._orphan(int(parcel.fields[0]), int(parcel.fields[1]))

    def _orphan(self, pid: int, status: int) -> None:
        """The keeper has reaped a child of a former warden."""
        run = self._by_pid.get(pid)
        if run is None:
            return self._tell_keeper(handover.FORGET, b"%d" % pid)
        if run.wait_status is None:
            run.wait_status = status
        return None

    def _succeed(self) -> None:
        """The keeper is dead: become the keeper. Our children stay ours, for this process stays the same.

        The next warden is started and given everything before that, so that there is a second copy again at once.
        """
        failpoint("warden.before-succession")
        entries = {run.name.encode(): run.held() for run in self.runs.values() if run.stdout >= 0 or run.pidfd >= 0}
        options = {**self.options, "generation": str(int(self.options["generation"]) + 1)}
        channel, pid = keeper.start_warden(options, LISTENER)
        try:
            keeper.hand_over(channel, entries)
        except OSError as error:
            sys.stderr.write(f"the next warden died at once: {error}\n")
        failpoint("warden.in-succession")
        state = handover.write_state(entries)
        for fd in (INTERPRETER, LOCK, channel.fileno(), *(fd for held in entries.values() for fd in held.fds.values())):
            os.set_inheritable(fd, True)
        os.dup2(LISTENER, keeper.LISTENER)  # the number of our keeper's socket, which is dead
        os.dup2(state, keeper.STATE)
        options |= {"warden": str(pid), "channel": str(channel.fileno())}
        interpreter.become(INTERPRETER, "keeper", [f"{name}={value}" for name, value in options.items()])

    # Recovery --------------------------------------------------------------------------------------------------------

    def _recover(self, run: Run) -> None:
        failpoint("warden.recover-run")
        self.runs[run.key] = run
        try:
            run.group = self._tree.open(run.id, run.attempt)
        except FileNotFoundError:
            run.group = None
        if run.phase == PREPARING:
            return self._dismantle(run, lambda: self._again(run) if run.waiters else None)
        self._by_pid[run.pid] = run
        if self.journal.ended(run.key) is not None:
            return self._bury(run)
        run.output.floor = 0
        self._awaited.add(run.id)
        return self._attend(run)

    def _end_ownerless(self) -> None:
        for id, attempt in self._tree.groups():
            if (id, attempt) in self.runs:
                continue
            try:
                group = self._tree.open(id, attempt)
            except FileNotFoundError:
                continue  # the daemon is removing it
            if self.journal.ended((id, attempt)) is None:
                self._record_ownerless(id, attempt, group)
            self._ownerless += 1
            self._remove_group(group, self._one_ownerless_less)

    def _one_ownerless_less(self) -> None:
        self._ownerless -= 1

    def _record_ownerless(self, id: str, attempt: int, group: Group) -> None:
        run = Run(id, attempt, os.path.join(self.options["data"], "logs", id))
        run.pid = process.first_of(group.pids())
        run.start_time = process.start_time(run.pid)
        run.wait_status = 9 if run.pid else None
        run.ended_at = time.time_ns()
        group.kill()
        self.journal.append([run.exit("unknown")])
        run.output.close()

    # Starting --------------------------------------------------------------------------------------------------------

    def start(self, request: Message, answer: Callable[[Message], None]) -> None:
        """Start a run, or answer what came of it earlier."""
        key = request["id"], request["attempt"]
        ended = self.journal.ended(key)
        run = self.runs.get(key)
        if ended is not None:
            return answer({"pid": ended[0], "start": ended[1], "cgroup": self.group_name(*key)})
        if self.leaving:
            return answer(failure("shutdown", "the supervisor is being stopped"))
        if run is None:
            run = self.runs[key] = Run(*key, request["logs"], request.pop("keeping"))
            run.output.floor = self._desk.floor(run.id)
            run.request = request
            run.waiters.append(answer)
            return self._begin(run)
        run.request = run.request or request
        run.waiters.append(answer)
        return self._answer(run)

    def _begin(self, run: Run) -> None:
        run.tries += 1
        run.phase = PREPARING
        try:
            run.open_channels()
            self._hold(run)
            failpoint("warden.before-cgroup")
            run.group = apply.run_host(run.request["host"], self._tree)
            failpoint("warden.after-cgroup")
            self.nursery.clone(run)
        except FileExistsError:
            run.group = None
            self._start_failed(run, failure("fence", f"attempt {run.attempt} was begun before", errno.EEXIST))
        except (OSError, LadingError) as error:
            number = getattr(error, "errno", 0) or errno.EIO
            self._start_failed(run, failure(getattr(error, "stage", "") or "prepare", str(error), number))

    def _cloned(self, run: Run, pid: int, pidfd: int, namespaces: dict[str, int]) -> None:
        """The zygote has made the process; it sets itself up and waits for "go"."""
        failpoint("warden.after-clone")
        run.pid, run.pidfd, run.namespaces = pid, pidfd, namespaces
        run.start_time = process.start_time(pid)
        run.phase = CLONED
        self._by_pid[pid] = run
        self._hold(run)
        failpoint("warden.after-hold")
        self._attend(run)
        if self.leaving and run.group is not None:
            run.group.kill()
        self._loop.later(_SET_UP_SECONDS, partial(self._give_up, run.key, pid))

    def _attend(self, run: Run) -> None:
        """Watch everything a run has open."""
        self._watch_pipes(run)
        self._loop.watch(run.pidfd, lambda events: self._died(run))
        if run.status >= 0:
            failpoint("warden.before-go")
            run.send_go()
            failpoint("warden.after-go")
            self._loop.watch(run.status, lambda events: self._executed(run), 0)  # hang-up only: then all was said

    def _executed(self, run: Run) -> None:
        """The status socket has closed: by the exec, or by the end of the process."""
        executing, complaint = run.read_status()
        self._loop.close(run.status)
        run.status = -1
        if complaint is not None:
            run.failure = {"error": complaint}
        elif not executing and not run.recovered:
            run.failure = failure("set-up", "the process was killed before it could execute", errno.ECHILD)
        if run.failure is None:
            run.phase = STARTED
            run.request = {}
            self._hold(run)
        failpoint("warden.before-answer")
        self._answer(run)

    def _answer(self, run: Run) -> None:
        """Tell whoever waits for the start, if it has come to an end."""
        if run.phase in (PREPARING, CLONED):
            return
        waiters, run.waiters = run.waiters, []
        for answer in waiters:
            answer({"pid": run.pid, "start": run.start_time, "cgroup": self.group_name(*run.key)})

    def _give_up(self, key: tuple[str, int], pid: int) -> None:
        """It is still not set up: a mount may hang for ever. (By its key: a timer must not keep the plan of a run.)"""
        run = self.runs.get(key)
        if run is not None and run.pid == pid and run.phase == CLONED and run.group is not None:
            run.group.kill()

    def _start_failed(self, run: Run, complaint: Message) -> None:
        """Nothing of it stays; then the caller hears why."""
        def tell() -> None:
            waiters, run.waiters = run.waiters, []
            for answer in waiters:
                answer(complaint)

        self._dismantle(run, tell)

    def _clone_failed(self, run: Run, complaint: dict[str, Any]) -> None:
        self._start_failed(run, {"error": complaint})

    def _starter_died(self, run: Run) -> None:
        """The zygote has died before it answered: whatever it has cloned waits for a "go" that never comes."""
        if run.tries >= _MOST_TRIES:
            return self._start_failed(run, failure("clone3", "the starter died again and again"))
        return self._dismantle(run, lambda: self._again(run))

    def _again(self, run: Run) -> None:
        """From the beginning, for those who wait."""
        self.runs[run.key] = run
        run.recovered = False
        self._begin(run)

    # Output ----------------------------------------------------------------------------------------------------------

    def _pumping(self, run: Run, pipe: int, stream: int) -> Callable[[int], None]:
        def pump(events: int) -> None:
            moved = 0
            for _ in range(_FRAMES_A_TURN):
                count = run.output.pump(pipe, stream)
                moved += count
                if not count:
                    break
            if moved:
                self._desk.has_output(run.id)
            if run.output.full:
                self._hold_up(run)
            elif not moved and events & loop.HANGUP:
                self._close_pipe(run, pipe)

        return pump

    def _watch_pipes(self, run: Run) -> None:
        for pipe, stream in run.pipes:
            self._loop.watch(pipe, self._pumping(run, pipe, stream))

    def _hold_up(self, run: Run) -> None:
        """Let the container wait until those who read its output have come far enough."""
        for pipe, _ in run.pipes:
            self._loop.forget(pipe)
        self._desk.full(run.id)

    def holds_changed(self, id: str) -> None:
        """Somebody needs more or less of the output of a container."""
        self._awaited.discard(id)
        for run in [run for run in self.runs.values() if run.id == id]:
            run.output.floor = self._desk.floor(id)
            if run.output.full and run.phase in (CLONED, STARTED):
                run.output.full = False
                self._watch_pipes(run)
        if id in self._over:
            self._put_away(self._over.pop(id))

    def readers_are_back(self) -> None:
        """Whoever needs output has said so, or has had time enough."""
        for id in list(self._awaited):
            self.holds_changed(id)

    def _put_away(self, run: Run) -> None:
        """A run is over: of its output stays what is to be kept, once nobody needs more of it."""
        if (run.id in self._awaited or self._desk.floor(run.id) is not None) and not self._runs_again(run):
            self._over[run.id] = run
        elif run.keeping.driver == "none":
            run.output.delete()
        else:
            run.output.floor = None
            run.output.drop()

    def _runs_again(self, run: Run) -> bool:
        return any(id == run.id and attempt != run.attempt for id, attempt in self.runs)

    def _close_pipe(self, run: Run, pipe: int) -> None:
        """Nobody has the other end any more."""
        for name in ("stdout", "stderr"):
            if getattr(run, name) == pipe:
                setattr(run, name, -1)
        self._loop.close(pipe)
        if run.phase == STARTED:
            self._hold(run)

    def _drain(self, run: Run) -> None:
        """What was written before the end; bounded, because somebody else may hold the other end and go on writing."""
        for pipe, stream in run.pipes:
            moved = 0
            while moved < 2 * PIPE_SIZE and (count := run.output.pump(pipe, stream, last=True)):
                moved += count
                self._desk.has_output(run.id)

    # The end ---------------------------------------------------------------------------------------------------------

    def _died(self, run: Run) -> None:
        """The first process is dead."""
        run.dead_since, run.ended_at = time.monotonic(), time.time_ns()
        self._loop.forget(run.pidfd)
        if run.status >= 0:
            self._executed(run)
        if run.failure is not None:
            return self._start_failed(run, run.failure)
        run.phase = ENDED
        return self._collect(run)

    def _collect(self, run: Run, pause: float = 0.001) -> None:
        """Nothing of it may live, all output be stored, the status be known; then it can be recorded."""
        waited = time.monotonic() - run.dead_since
        if run.group is not None and run.group.populated() and waited < _PATIENCE_WITH_DYING:
            run.group.kill()
        elif run.wait_status is None and (status := process.wait_status(run.pidfd)) is None and waited < _UNKNOWN_AFTER:
            pass
        else:
            run.wait_status = status if run.wait_status is None else run.wait_status
            self._drain(run)
            run.oom = run.group is not None and run.group.oom_kills() > 0
            failpoint("warden.after-drain")
            self._ready.append(run)
            return
        self._loop.later(pause, lambda: self._collect(run, min(2 * pause, 0.1)))

    def _record_exits(self) -> None:
        """One sync for all that have ended in this turn; only then may anybody know."""
        if not self._ready:
            return
        ready, self._ready = self._ready, []
        try:
            self.journal.append([run.exit() for run in ready])
        except OSError as error:
            sys.stderr.write(f"exit journal: {error}\n")
            self._loop.later(_JOURNAL_RETRY, lambda: self._ready.extend(ready))
            return
        for run in ready:
            self._bury(run)

    def _bury(self, run: Run) -> None:
        """The exit is on record: reap, delete, forget, tell."""
        exit = self.journal.find(run.key)

        def tell() -> None:
            if exit is not None:
                self._desk.tell(exit)

        self._dismantle(run, tell)

    def _dismantle(self, run: Run, then: Callable[[], None]) -> None:
        """Close and delete everything of a run, however far it has come."""
        for fd in (run.status, run.stdout, run.stderr):
            if fd >= 0:
                self._loop.close(fd)
        run.status = run.stdout = run.stderr = -1
        run.close_childs_ends()
        self.nursery.forget(run)
        group, run.group = run.group, None

        def gone() -> None:
            if run.pidfd >= 0:
                process.reap(run.pidfd)
                self._loop.close(run.pidfd)
            # Before the keeper is told: whoever closes a namespace last waits until it is torn down, and nothing waits
            # for the keeper.
            handover.close(list(run.namespaces.values()))
            run.pidfd, run.namespaces = -1, {}
            run.output.close()
            self._put_away(run)
            self._tell_keeper(handover.DROP, run.name.encode())
            self._by_pid.pop(run.pid, None)
            if run.recovered:
                self._tell_keeper(handover.FORGET, b"%d" % run.pid)
            self.runs.pop(run.key, None)
            self.nursery.reap_strangers(set(self._by_pid))
            then()

        if group is None:
            gone()
        else:
            self._remove_group(group, gone)

    def _remove_group(self, group: Group, then: Callable[[], None], pause: float = 0.001, waited: float = 0.0) -> None:
        failpoint("warden.before-rmdir")
        try:
            if group.populated():
                group.kill()
            group.close_fds()
            group.remove()
        except (OSError, LadingError) as error:
            if waited < _PATIENCE_WITH_DYING:
                again = min(2 * pause, 0.2)
                return self._loop.later(pause, lambda: self._remove_group(group, then, again, waited + pause))
            sys.stderr.write(f"control group stays: {error}\n")
        failpoint("warden.after-rmdir")
        return then()

    def leave(self, *, kill: bool) -> bool:
        """End as soon as no run is left; False if runs are and must not be killed."""
        if self.runs and not kill:
            return False
        self.leaving = True
        for run in self.runs.values():
            if run.group is not None:
                run.group.kill()
        return True

    def _leave(self) -> None:
        """Zygote, keeper, and then we."""
        self.nursery.close()
        self._tell_keeper(handover.QUIT, b"")
        for root in self._tree.roots():
            with suppress(OSError):  # something of an earlier time is still in there
                os.rmdir(root)
        self._desk.close()
        self.journal.close()
        sys.exit(0)

    def describe(self) -> Message:
        """Who works here."""
        return {"pid": os.getpid(), "keeper": os.getppid(), "zygote": self.nursery.pid,
                "generation": int(self.options["generation"])}

    def group_name(self, id: str, attempt: int) -> str:
        """Where its control groups lie, below each hierarchy."""
        return f"{self.options['root']}/{id}.{attempt}"


def _raise_files_limit() -> None:
    """Six descriptors a container."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main(arguments: list[str]) -> None:
    """Become the warden."""
    options = dict(argument.split("=", 1) for argument in arguments)
    faults.arm(options["failpoints"], int(options["generation"]))
    for fd in (INTERPRETER, LOCK, KEEPER, LISTENER):
        os.set_inheritable(fd, False)
    _raise_files_limit()
    Warden(options).run()
