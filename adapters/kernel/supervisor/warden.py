"""The warden: starts containers, moves their output, sees their end, records it, tells the daemon.

One epoll loop, no threads. It can be killed at any point: the keeper has a second set of every descriptor and starts
the next warden, which finds each run, and each exec in one, in one of these states and goes on:

    pipes, no pidfd      nothing was executed (that needs "go", and "go" needs the pidfd at the keeper): undone
    status and pidfd     "go" may have been sent: sent (again)
    pidfd                executed: watched on
    exit in the journal  only the grave is left to dig

A control group without any of this belongs to a tree whose keeper and warden were both killed: its processes have no
owner; they are killed, and their exit is recorded as unknown.

Descriptors at birth: 2 error log, 3 sealed interpreter, 4 lock of the data root, 5 the keeper, 6 the listening socket.
"""

import errno
import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from adapters.kernel import apply, cgroups, kmsg
from adapters.kernel.child import crossing
from adapters.kernel.supervisor import faults, handover, interpreter, keeper, loop, process, zygote
from adapters.kernel.supervisor.desk import Desk, failure
from adapters.kernel.supervisor.dictation import Dictation
from adapters.kernel.supervisor.execs import Exec, Execs
from adapters.kernel.supervisor.journal import Journal
from adapters.kernel.supervisor.nursery import Nursery
from adapters.kernel.supervisor.run import Run
from adapters.kernel.supervisor.ward import CLONED, ENDED, PREPARING, STARTED, Answer, Group, Key, Ward
from adapters.kernel.supervisor.wire import Message
from domain.errors import LadingError
from domain.failpoints import failpoint
from domain.runtime.request import cannot_join

INTERPRETER, LOCK, KEEPER, LISTENER = 3, 4, 5, 6
_FRAMES_A_TURN = 8
_SET_UP_SECONDS = 120.0
_UNKNOWN_AFTER = 2.0
_JOURNAL_RETRY = 1.0
_STRANGERS_PAUSE = 0.1
_MOST_TRIES = 3
_VICTIMS = 16
_PATIENCE_WITH_DYING = 20.0
_COMEBACK = 5.0  # how long readers have to come back to a new warden before output that they need may be deleted


class Warden:
    """See the module."""

    def __init__(self, options: dict[str, str]) -> None:
        self.options = options
        self._loop = loop.Loop()
        self.runs: dict[Key, Run] = {}
        self.execs = Execs(self._loop, self.end_input)
        self._by_pid: dict[int, Ward] = {}
        self._ready: list[Ward] = []
        self._over: dict[str, Run] = {}  # ended, by container; somebody still needs of their output
        self._awaited: set[str] = set()  # containers whose readers may still come back
        self.leaving = False
        self._unclaimed: dict[int, int] = {}  # of children of the keeper that a ward may turn out to have born
        self._ownerless = 0  # groups that no run owns and whose last process the kernel has not ended yet
        self._keeper = socket.socket(fileno=KEEPER)
        held, statuses = self._take_back()
        self.journal = Journal(os.path.join(self.options["data"], "state", "exits.journal"))
        self._tree = cgroups.detect(self.options["root"])
        self._tree.prepare()
        self.nursery = Nursery(self._loop, self.options, INTERPRETER,
                               cloned=self._cloned, failed=self._clone_failed, died=self._starter_died)
        self._desk = Desk(self._loop, socket.socket(fileno=LISTENER), self)
        self._dictation = Dictation(self._loop, self.options, INTERPRETER)
        for ward in sorted(map(_taken_back, held), key=lambda ward: ward.exec_id):  # runs first
            self._recover(ward)
        self._loop.later(_COMEBACK, self.readers_are_back)
        for pid, status in statuses:
            self._orphan(pid, status)
        self._end_ownerless()
        self._dictation.begin()
        self._loop.watch(KEEPER, self._keeper_event)
        self._looking = False
        self._wake = process.wake_on_child()
        self._loop.watch(self._wake, self._a_child_ended)

    def run(self) -> None:
        """Until told to leave."""
        while True:
            self._loop.turn()
            self._desk.ring()
            self._dictation.flush()
            self._record_exits()
            if self.leaving and not self.runs and not self.execs.wards and not self._ownerless:
                self._leave()

    def _wards(self) -> list[Ward]:
        return [*self.runs.values(), *self.execs.wards.values()]

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

    def _hold(self, ward: Ward) -> None:
        try:
            handover.send_held(self._keeper, ward.name.encode(), ward.held())
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
        ward = self._by_pid.get(pid)
        if ward is None and any(ward.report >= 0 for ward in self._wards()):
            self._unclaimed[pid] = status
            return None
        if ward is None:
            return self._tell_keeper(handover.FORGET, b"%d" % pid)
        if ward.wait_status is None:
            ward.wait_status = status
        return None

    def _succeed(self) -> None:
        """The keeper is dead: become the keeper. Our children stay ours, for this process stays the same.

        The next warden is started and given everything before that, so that there is a second copy again at once.
        """
        failpoint("warden.before-succession")
        entries = {ward.name.encode(): held for ward in self._wards() if (held := ward.held()).fds}
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

    def _recover(self, ward: Ward) -> None:
        failpoint("warden.recover-run")
        self._enter(ward)
        if isinstance(ward, Run):
            try:
                ward.group = self._tree.open(ward.id, ward.attempt)
            except FileNotFoundError:
                ward.group = None
        if ward.phase == PREPARING:
            return self._dismantle(ward, lambda: self._again(ward) if ward.waiters else None)
        self._by_pid[ward.pid] = ward
        if self.journal.ended(ward.key) is not None:
            ward.phase = ENDED  # what an exec has left may still be asked for
            return self._bury(ward)
        if isinstance(ward, Run):
            ward.output.floor = 0
            self._awaited.add(ward.id)
            self._dictation.follow(ward)
        return self._attend(ward)

    def _enter(self, ward: Ward) -> None:
        """Into the books."""
        if isinstance(ward, Run):
            self.runs[ward.key] = ward
        elif isinstance(ward, Exec):
            self.execs.wards[ward.key] = ward

    def _end_ownerless(self) -> None:
        for id, attempt in self._tree.groups():
            if (id, attempt, "") in self.runs:
                continue
            try:
                group = self._tree.open(id, attempt)
            except FileNotFoundError:
                continue  # the daemon is removing it
            if self.journal.ended((id, attempt, "")) is None:
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

    def start(self, request: Message, answer: Answer) -> None:
        """Start a run, or answer what came of it earlier."""
        key = request["id"], request["attempt"], ""
        ended = self.journal.ended(key)
        ward = self.runs.get(key)
        if ended is not None:
            answer({"pid": ended[0], "start": ended[1], "cgroup": self.group_name(*key[:2])})
        elif self.leaving:
            answer(failure("shutdown", "the supervisor is being stopped"))
        else:
            self._attempt(ward or Run(*key[:2], request["logs"], request.pop("keeping")), request, answer)

    def exec(self, request: Message, answer: Answer) -> None:
        """Start one process more in a run, or answer what came of it earlier."""
        key = request["id"], request["attempt"], request["exec"]
        ended = self.journal.ended(key)
        ward = self.execs.wards.get(key)
        if ended is not None and (ward is None or ward.phase == ENDED):
            self.execs.lend_left(key, answer, {"pid": ended[0], "start": ended[1], "cgroup": self.group_name(*key[:2])})
        elif ward is None and not self._runs(*key[:2]):
            answer(failure("gone", "the container is not running"))
        elif self.leaving:
            answer(failure("shutdown", "the supervisor is being stopped"))
        else:
            self._attempt(ward or Exec(*key), request, answer)

    def _runs(self, id: str, attempt: int) -> Run | None:
        run = self.runs.get((id, attempt, ""))
        return run if run is not None and run.phase == STARTED else None

    def _attempt(self, ward: Ward, request: Message, answer: Answer) -> None:
        """Begin it, unless it was begun already."""
        ward.request = ward.request or request
        ward.waiters.append(answer)
        if ward.key in self.runs or ward.key in self.execs.wards:
            self._answer(ward)
        else:
            self._begin(ward)

    def _begin(self, ward: Ward) -> None:
        self._enter(ward)
        ward.tries += 1
        ward.phase = PREPARING
        try:
            if isinstance(ward, Run):
                self._begin_run(ward)
            elif isinstance(ward, Exec):
                self._begin_exec(ward)
        except FileExistsError:
            ward.group = None
            self._start_failed(ward, failure("fence", f"attempt {ward.attempt} was begun before", errno.EEXIST))
        except (OSError, LadingError) as error:
            number = getattr(error, "errno", 0) or errno.EIO
            self._start_failed(ward, failure(getattr(error, "stage", "") or "prepare", str(error), number))

    def _begin_run(self, run: Run) -> None:
        lenders = {kind: self._lender(id) for kind, id in run.request.get("share", {}).items()}
        missing = next((kind for kind, lender in lenders.items() if lender is None), "")
        if missing:
            text = cannot_join(missing, run.request["share"][missing])
            return self._start_failed(run, failure("share", text))
        run.output.floor = self._desk.floor(run.id)
        self._dictation.follow(run)
        run.prepare()
        self._hold(run)
        failpoint("warden.before-cgroup")
        run.group = apply.run_host(run.request["host"], self._tree)
        failpoint("warden.after-cgroup")
        shared = {kind: lender.pidfd for kind, lender in lenders.items() if lender is not None}
        return self.nursery.clone(run, run.devpts, shared)

    def _lender(self, id: str) -> Run | None:
        """The run of the container whose namespace another one is to share."""
        return next((run for run in self.runs.values() if run.id == id and run.phase == STARTED), None)

    def _begin_exec(self, ward: Exec) -> None:
        run = self._runs(ward.id, ward.attempt)
        if run is None or run.group is None:
            return self._start_failed(ward, failure("gone", "the container is not running"))
        ward.open_channels(run.devpts)
        self._hold(ward)
        failpoint("warden.before-entering")
        ward.group = self._tree.open(ward.id, ward.attempt)
        ward.ooms = ward.group.oom_kills()
        return self.nursery.clone(ward, run.pidfd)

    def _cloned(self, ward: Ward, pid: int, pidfd: int, namespaces: dict[str, int]) -> None:
        """The zygote has made the process; it sets itself up and waits for "go"."""
        failpoint("warden.after-clone")
        ward.pid, ward.pidfd = pid, pidfd
        if isinstance(ward, Run):
            ward.mnt, ward.ipc, ward.net = (namespaces.get(name, -1) for name in zygote.NAMESPACES)
        else:
            ward.group = None  # it was for the birth only: the groups are those of the run
        ward.start_time = process.start_time(pid)
        ward.phase = CLONED
        self._by_pid[pid] = ward
        self._hold(ward)
        failpoint("warden.after-hold")
        self._attend(ward)
        if self.leaving:
            self._kill(ward)
        ward.deadline = self._loop.later(_SET_UP_SECONDS, partial(self._give_up, ward.key, pid))

    def _attend(self, ward: Ward) -> None:
        """Watch everything it has open."""
        ward.keep_line()
        if isinstance(ward, Run):
            self._watch_pipes(ward)
        self._loop.watch(ward.pidfd, lambda events: self._died(ward))
        if ward.status >= 0:
            failpoint("warden.before-go")
            ward.send_go()
            failpoint("warden.after-go")
            self._loop.watch(ward.status, lambda events: self._executed(ward), 0)  # hang-up only: then all was said

    def _executed(self, ward: Ward) -> None:
        """The status socket has closed: by the exec, before a crossing, or by the end of the process."""
        executing, complaint = ward.read_status()
        self._loop.close(ward.status)
        ward.status = -1
        if ward.report >= 0 and complaint is None:
            return  # what it has born is known when it has ended
        self._loop.cancel(ward.deadline)
        if complaint is not None:
            ward.failure = {"error": complaint}
        elif not executing and not ward.recovered:
            ward.failure = failure("set-up", "the process was killed before it could execute", errno.ECHILD)
        self._started(ward)

    def _crossed(self, ward: Ward) -> None:
        """It has ended after a crossing: from now on it is the process that it has born, if there is one. To the keeper
        that is news before anybody else hears of it."""
        born = crossing.outcome(ward.report)
        self._loop.cancel(ward.deadline)
        if born.failure is not None:
            stage, number, text, code = born.failure
            ward.failure = failure(stage, text, number, code)
        if not born.pid:
            return self._start_failed(ward, ward.failure or {})
        failpoint("warden.before-adoption")
        self._let_go(ward)
        ward.adopt(born.pid)
        ward.wait_status = self._unclaimed.pop(ward.pid, None)
        self._by_pid[ward.pid] = ward
        if ward.failure is not None:
            self._kill(ward)
        self._started(ward)
        if ward.pidfd >= 0:
            return self._loop.watch(ward.pidfd, lambda events: self._died(ward))
        return self._died(ward)

    def _let_go(self, ward: Ward) -> None:
        """Of the process that has crossed, and of its report."""
        process.reap(ward.pidfd)
        for fd in (ward.pidfd, ward.report):
            self._loop.close(fd)
        ward.report = -1
        self._by_pid.pop(ward.pid, None)
        if ward.recovered:
            self._tell_keeper(handover.FORGET, b"%d" % ward.pid)

    def _started(self, ward: Ward) -> None:
        """Unless it has failed, it runs a program now."""
        if ward.failure is None:
            ward.phase = STARTED
            ward.request = {}
        if ward.crosses and ward.pidfd >= 0:
            self._hold(ward)
        failpoint("warden.before-answer")
        self._answer(ward)
        if ward.failure is None and not ward.crosses:
            self._hold(ward)

    def _answer(self, ward: Ward) -> None:
        """Tell whoever waits for the start, if it has come to an end."""
        if ward.phase in (PREPARING, CLONED):
            return
        waiters, ward.waiters = ward.waiters, []
        message = {"pid": ward.pid, "start": ward.start_time, "cgroup": self.group_name(ward.id, ward.attempt)}
        for answer in waiters:
            if isinstance(ward, Exec):
                self.execs.lend(ward, answer, message)
            else:
                answer(message)
        if isinstance(ward, Exec):
            self.execs.drop_soon(ward)

    def _kill(self, ward: Ward) -> None:
        """A run with everything in it; an exec alone."""
        if ward.group is not None:
            ward.group.kill()
        elif ward.pidfd >= 0:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(ward.pidfd, signal.SIGKILL)

    def _give_up(self, key: Key, pid: int) -> None:
        """It is still not set up: a mount may hang for ever. (By its key: a timer must not keep the plan of a run.)"""
        ward = self.execs.wards.get(key) if key[2] else self.runs.get(key)
        if ward is not None and ward.pid == pid and ward.phase == CLONED:
            self._kill(ward)

    def _start_failed(self, ward: Ward, complaint: Message) -> None:
        """Nothing of it stays; then the caller hears why."""
        def tell() -> None:
            waiters, ward.waiters = ward.waiters, []
            for answer in waiters:
                answer(complaint)

        self._dismantle(ward, tell)

    def _clone_failed(self, ward: Ward, complaint: dict[str, Any]) -> None:
        self._start_failed(ward, {"error": complaint})

    def _starter_died(self, ward: Ward) -> None:
        """The zygote has died before it answered: whatever it has cloned waits for a "go" that never comes."""
        if ward.tries >= _MOST_TRIES:
            return self._start_failed(ward, failure("clone3", "the starter died again and again"))
        return self._dismantle(ward, lambda: self._again(ward))

    def _again(self, ward: Ward) -> None:
        """From the beginning, for those who wait."""
        ward.recovered = False
        self._begin(ward)

    # Input -----------------------------------------------------------------------------------------------------------

    def end_input(self, ward: Ward) -> None:
        """The process reads end of file once all others who have its input have let go."""
        fd, ward.stdin = ward.stdin, -1
        if fd >= 0:
            self._loop.close(fd)
            self._hold(ward)

    # Output ----------------------------------------------------------------------------------------------------------

    def _has_output(self, run: Run) -> None:
        self._desk.has_output(run.id)
        self._dictation.bell(run.id)

    def _watch_pipes(self, run: Run) -> None:
        for pipe, stream in run.pipes:
            pump = self._pumping(run, pipe, stream)
            self._loop.watch(pipe, pump)
            if run.terminal >= 0:
                self._loop.watch(run.terminal, self._relaying(run, pump))

    def _relaying(self, run: Run, pump: loop.Handler) -> loop.Handler:
        """From the terminal through the pipe into the log, without another turn of the loop."""
        def relay(events: int) -> None:
            if run.relay_output():
                pump(loop.READ)

        return relay

    def _pumping(self, run: Run, pipe: int, stream: int) -> loop.Handler:
        def pump(events: int) -> None:
            moved = 0
            for _ in range(_FRAMES_A_TURN):
                count = run.output.pump(pipe, stream)
                moved += count
                if not count:
                    break
            if moved:
                self._has_output(run)
            if run.output.full:
                self._hold_up(run)
            elif not moved and events & loop.HANGUP:
                self._close_pipe(run, pipe)

        return pump

    def _hold_up(self, run: Run) -> None:
        """Let the container wait until those who read its output have come far enough."""
        for pipe, _ in run.pipes:
            self._loop.forget(pipe)
        if run.terminal >= 0:
            self._loop.forget(run.terminal)
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
        if self._runs_again(run):
            return  # the next run has taken over the files
        if run.id in self._awaited or self._desk.floor(run.id) is not None:
            self._over[run.id] = run
        elif run.keeping.driver == "none":
            run.output.delete()
        else:
            run.output.floor = None
            run.output.drop()

    def _runs_again(self, run: Run) -> bool:
        return any(id == run.id and attempt != run.attempt for id, attempt, _ in self.runs)

    def _close_pipe(self, run: Run, pipe: int) -> None:
        """Nobody has the other end any more."""
        for name in ("stdout", "stderr"):
            if getattr(run, name) == pipe:
                setattr(run, name, -1)
        self._loop.close(pipe)
        if run.phase == STARTED:
            self._hold(run)

    def _drain(self, run: Run) -> None:
        """What was written before the end."""
        for pipe, stream in run.pipes:
            if run.output.drain(pipe, stream, run.relay_output if run.terminal >= 0 else lambda: 0):
                self._has_output(run)

    # The end ---------------------------------------------------------------------------------------------------------

    def _died(self, ward: Ward) -> None:
        """The process is dead."""
        ward.dead_since, ward.ended_at = time.monotonic(), time.time_ns()
        self._loop.forget(ward.pidfd)
        if ward.status >= 0:
            self._executed(ward)
        if ward.failure is not None:
            return self._start_failed(ward, ward.failure)
        if ward.report >= 0:
            return self._crossed(ward)
        ward.phase = ENDED
        return self._collect(ward)

    def _collect(self, ward: Ward, pause: float = 0.001) -> None:
        """Nothing of it may live, all output be stored, the status be known; then it can be recorded."""
        waited = time.monotonic() - ward.dead_since
        if ward.group is not None and ward.group.populated() and waited < _PATIENCE_WITH_DYING:
            ward.group.kill()
        elif (ward.wait_status is None and (status := process.wait_status(ward.pidfd)) is None
              and waited < _UNKNOWN_AFTER):
            pass
        else:
            ward.wait_status = status if ward.wait_status is None else ward.wait_status
            if isinstance(ward, Run):
                self._drain(ward)
                failpoint("warden.after-drain")
            ward.oom = self._ran_out_of_memory(ward)
            if isinstance(ward, Run) and ward.oom and ward.group is not None:
                ward.kills = ward.group.oom_kills()
                ward.victims = kmsg.victims(f"/{self.group_name(ward.id, ward.attempt)}")[-_VICTIMS:]
            self._ready.append(ward)
            return
        self._loop.later(pause, lambda: self._collect(ward, min(2 * pause, 0.1)))

    def _ran_out_of_memory(self, ward: Ward) -> bool:
        """Whether the kernel has killed for lack of memory in its groups, as long as it lived."""
        if not isinstance(ward, Exec):
            return ward.group is not None and ward.group.oom_kills() > 0
        run = self.runs.get((ward.id, ward.attempt, ""))
        return ward.wait_status == signal.SIGKILL and run is not None and run.group is not None and (
            run.group.oom_kills() > ward.ooms)

    def _record_exits(self) -> None:
        """One sync for all that have ended in this turn; only then may anybody know."""
        if not self._ready:
            return
        ready, self._ready = self._ready, []
        try:
            self.journal.append([ward.exit() for ward in ready])
        except OSError as error:
            sys.stderr.write(f"exit journal: {error}\n")
            self._loop.later(_JOURNAL_RETRY, lambda: self._ready.extend(ready))
            return
        for ward in ready:
            self._bury(ward)

    def _bury(self, ward: Ward) -> None:
        """The exit is on record: reap, delete, forget, tell."""
        exit = self.journal.find(ward.key)

        def tell() -> None:
            if exit is not None:
                self._desk.tell(exit)

        if isinstance(ward, Exec):
            self.execs.leave(ward)
        self._dismantle(ward, tell)

    def _dismantle(self, ward: Ward, then: Callable[[], None]) -> None:
        """Close and delete everything of it, however far it has come."""
        for fd in self.execs.close(ward) if isinstance(ward, Exec) else ward.open_fds():
            self._loop.close(fd)
        ward.close_childs_ends()
        self.nursery.forget(ward)
        group, ward.group = ward.group, None
        if isinstance(ward, Run) and group is not None:
            return self._remove_group(group, lambda: self._forget(ward, then))
        if group is not None:
            group.close_fds()
        return self._forget(ward, then)

    def _forget(self, ward: Ward, then: Callable[[], None]) -> None:
        if ward.pidfd >= 0:
            process.reap(ward.pidfd)
            self._loop.close(ward.pidfd)
            ward.pidfd = -1
        if isinstance(ward, Run):
            # Before the keeper is told: whoever closes a namespace or a mount last waits until it is torn down, and
            # nothing waits for the keeper.
            handover.close(ward.places())
            ward.output.close()
            self._dictation.over(ward)
            self._put_away(ward)
            self.runs.pop(ward.key, None)
        self._tell_keeper(handover.DROP, ward.name.encode())
        self._by_pid.pop(ward.pid, None)
        if ward.recovered:
            self._tell_keeper(handover.FORGET, b"%d" % ward.pid)
        if self._unclaimed and not any(ward.report >= 0 for ward in self._wards()):
            for pid in self._unclaimed:
                self._tell_keeper(handover.FORGET, b"%d" % pid)
            self._unclaimed.clear()
        then()

    def _a_child_ended(self, events: int) -> None:
        """If it is one of those that we know, that is seen by its pidfd; else nobody would ever reap it."""
        os.read(self._wake, 4096)
        if not self._looking:
            self._looking = True
            self._loop.later(_STRANGERS_PAUSE, self._reap_strangers)

    def _reap_strangers(self) -> None:
        """Dead children whose birth nobody could tell us about: of a zygote that was killed between the clone and its
        answer, or siblings that a process of a container has given itself (CLONE_PARENT). A dead one that is not reaped
        keeps its container from ending."""
        self._looking = False
        born = {crossing.outcome(ward.report).pid for ward in self._wards() if ward.report >= 0}
        for pid in process.children() - {*self._by_pid, *born, self.nursery.pid, self._dictation.pid}:
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)

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
                self._loop.later(pause, lambda: self._remove_group(group, then, again, waited + pause))
                return None
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
        self._dictation.close()
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


def _taken_back(held: handover.Held) -> Ward:
    """What a former warden has left."""
    return Exec.taken_back(held) if json.loads(held.note).get("exec") else Run.taken_back(held)


def _raise_files_limit() -> None:
    """Seven descriptors a container, and up to four an exec."""
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
