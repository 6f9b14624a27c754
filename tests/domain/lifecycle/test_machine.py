"""Laws over the table: every cell of the product state × event, and of state × command."""

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.container import LIVE, TRANSIENT, Container, State
from domain.errors import IllegalTransition, LadingError, NotFound, Refused
from domain.lifecycle import MACHINE, TRANSITIONS
from domain.lifecycle.attach import Attach, Attached
from domain.lifecycle.commit import Commit, CommitFailed, CommitRequested, Committed
from domain.lifecycle.create import Create, Created
from domain.lifecycle.exec import Exec, ExecExited, ExecFailed, ExecRequested, ExecStarted, ReportExecExit
from domain.lifecycle.exit import Exited, ReportExit, RestartCancelled, RestartScheduled
from domain.lifecycle.files import CopiedIn, CopiedOut, Exported, NoteCopiedIn, NoteCopiedOut, NoteExported
from domain.lifecycle.health import HealthChanged, ReportHealth
from domain.lifecycle.kill import Kill, KillRequested, SignalFailed, SignalSent
from domain.lifecycle.network import (
    Connect,
    Connected,
    ConnectFailed,
    ConnectRequested,
    Disconnect,
    Disconnected,
    DisconnectFailed,
    DisconnectRequested,
    Grant,
    NetworkGranted,
    NetworkReleased,
    Unlink,
    Unlinked,
)
from domain.lifecycle.pause import Pause, Paused, PauseFailed, PauseRequested
from domain.lifecycle.remove import Remove, Removed, RemoveFailed, RemoveRequested
from domain.lifecycle.rename import Rename, Renamed
from domain.lifecycle.shortage import OomKilled, ReportMemoryKills
from domain.lifecycle.start import Adopt, Adopted, Start, Started, StartFailed, StartRequested, StartScheduled
from domain.lifecycle.stop import Restart, Stop, StopFailed, StopRequested
from domain.lifecycle.unpause import Unpause, Unpaused, UnpauseFailed, UnpauseRequested
from domain.lifecycle.update import LimitsChanged, LimitsFailed, LimitsRequested, Update, Updated
from domain.messages import Command, Event, Meta, Recorded, StreamId
from domain.network.wishes import Attachment, Interface, Lease
from domain.resources import Resources
from domain.spec import ContainerSpec, ExecSpec, HealthAction, HealthCheck, RestartPolicy

ID = "a" * 64
SPEC = ContainerSpec(image="busybox", image_id="sha256:" + "0" * 64, command=("true",))

SHOP = Attachment(network="shop", id="n1")
INTERFACE = Interface(network="n1", network_name="shop", link="lv1", name="eth0", mac="02:1d:0a:d5:00:02",
                      addresses=("10.213.0.2/24",))
S = State
EXAMPLES: dict[type[Event], Event] = {
    Created: Created(name="web", spec=SPEC),
    Renamed: Renamed(name="b2", old="web"),
    StartRequested: StartRequested(attempt=2),
    Started: Started(attempt=1, pid=7, start_time=9),
    StartFailed: StartFailed(attempt=1, reason="no"),
    Adopted: Adopted(pid=7, start_time=9),
    StopRequested: StopRequested(signal=15, timeout=10),
    StopFailed: StopFailed(reason="no"),
    KillRequested: KillRequested(signal=9, ends=True),
    SignalSent: SignalSent(signal=9),
    SignalFailed: SignalFailed(signal=9, reason="no"),
    PauseRequested: PauseRequested(),
    Paused: Paused(),
    PauseFailed: PauseFailed(reason="no"),
    UnpauseRequested: UnpauseRequested(),
    Unpaused: Unpaused(),
    UnpauseFailed: UnpauseFailed(reason="no"),
    CommitRequested: CommitRequested(),
    Committed: Committed(image_id="sha256:1"),
    CommitFailed: CommitFailed(reason="no"),
    Exited: Exited(attempt=1, code=3),
    RestartScheduled: RestartScheduled(attempt=1, delay=0.1, count=1),
    RestartCancelled: RestartCancelled(),
    RemoveRequested: RemoveRequested(),
    Removed: Removed(),
    RemoveFailed: RemoveFailed(residue="a mount"),
    ExecRequested: ExecRequested(exec_id="e1", exec=ExecSpec(argv=("ps",)), attempt=1),
    ExecStarted: ExecStarted(exec_id="e1", pid=8, start_time=9),
    ExecFailed: ExecFailed(exec_id="e1", reason="no"),
    ExecExited: ExecExited(exec_id="e1", code=0),
    Attached: Attached(streams=("stdout",)),
    CopiedOut: CopiedOut(path="/etc", bytes=1024),
    CopiedIn: CopiedIn(path="/srv", bytes=1024),
    Exported: Exported(bytes=1024),
    HealthChanged: HealthChanged(status="healthy", streak=0, exit_code=0),
    Updated: Updated(restart=RestartPolicy(name="always"), old=RestartPolicy()),
    LimitsRequested: LimitsRequested(limits=Resources(cpu_shares=512), before=Resources()),
    LimitsChanged: LimitsChanged(limits=Resources(cpu_shares=512), before=Resources()),
    LimitsFailed: LimitsFailed(limits=Resources(cpu_shares=512), before=Resources(), reason="no"),
    OomKilled: OomKilled(attempt=1, kills=1, pid=9, name="hog"),
    NetworkGranted: NetworkGranted(attempt=1, interfaces=(INTERFACE,)),
    NetworkReleased: NetworkReleased(attempt=1, interfaces=(INTERFACE,)),
    ConnectRequested: ConnectRequested(attachment=SHOP, interface=INTERFACE, attempt=1),
    Connected: Connected(attachment=SHOP, interface=INTERFACE),
    ConnectFailed: ConnectFailed(attachment=SHOP, interface=INTERFACE, reason="no"),
    DisconnectRequested: DisconnectRequested(attachment=SHOP, network="n1", name="shop", attempt=1),
    Disconnected: Disconnected(network="n1", name="shop", interface=INTERFACE),
    DisconnectFailed: DisconnectFailed(attachment=SHOP, network="n1", name="shop", reason="no"),
    Unlinked: Unlinked(name="store"),
}

_LIVE = {S.RUNNING, S.PAUSING, S.PAUSED, S.UNPAUSING, S.STOPPING}
_NAMED = {S.CREATED, S.STARTING, *_LIVE, S.EXITED, S.RESTARTING, S.DEAD}
_EXISTS = {*_NAMED, S.REMOVING}

TABLE: dict[type[Event], dict[State, State]] = {
    Created: {S.ABSENT: S.CREATED},
    Renamed: {s: s for s in _NAMED},
    StartRequested: dict.fromkeys((S.CREATED, S.EXITED, S.RESTARTING), S.STARTING),
    Started: {S.STARTING: S.RUNNING},
    StartFailed: {S.STARTING: S.EXITED},
    Adopted: {s: s for s in _LIVE},
    StopRequested: dict.fromkeys((S.RUNNING, S.PAUSED, S.STOPPING), S.STOPPING),
    StopFailed: {S.STOPPING: S.RUNNING, S.REMOVING: S.REMOVING, S.DEAD: S.DEAD},
    KillRequested: {s: s for s in _LIVE},
    SignalSent: {s: s for s in (*_LIVE, S.REMOVING, S.DEAD)},
    SignalFailed: {s: s for s in (*_LIVE, S.REMOVING, S.DEAD)},
    PauseRequested: {S.RUNNING: S.PAUSING},
    Paused: {S.PAUSING: S.PAUSED},
    PauseFailed: {S.PAUSING: S.RUNNING},
    UnpauseRequested: {S.PAUSED: S.UNPAUSING},
    Unpaused: {S.UNPAUSING: S.RUNNING},
    UnpauseFailed: {S.UNPAUSING: S.PAUSED},
    CommitRequested: {s: s for s in (S.CREATED, S.RUNNING, S.PAUSED, S.EXITED, S.STOPPING, S.RESTARTING)},
    Committed: {s: s for s in _EXISTS},
    CommitFailed: {s: s for s in _EXISTS},
    Exited: {**dict.fromkeys(_LIVE, S.EXITED), S.REMOVING: S.REMOVING, S.DEAD: S.DEAD},
    RestartScheduled: {S.EXITED: S.RESTARTING},
    RestartCancelled: {S.RESTARTING: S.EXITED},
    RemoveRequested: dict.fromkeys((S.CREATED, S.EXITED, S.DEAD, *_LIVE, S.RESTARTING), S.REMOVING),
    Removed: {S.REMOVING: S.REMOVED},
    RemoveFailed: {S.REMOVING: S.DEAD},
    ExecRequested: {S.RUNNING: S.RUNNING, S.STOPPING: S.STOPPING},
    ExecStarted: {s: s for s in _EXISTS},
    ExecFailed: {s: s for s in _EXISTS},
    ExecExited: {s: s for s in _EXISTS},
    Attached: {s: s for s in _EXISTS},
    CopiedOut: {s: s for s in _EXISTS},
    CopiedIn: {s: s for s in _EXISTS},
    Exported: {s: s for s in _EXISTS},
    HealthChanged: {s: s for s in _LIVE},
    Updated: {s: s for s in _NAMED - {S.DEAD}},
    LimitsRequested: {s: s for s in _LIVE},
    LimitsChanged: {s: s for s in _EXISTS},
    LimitsFailed: {s: s for s in _EXISTS},
    OomKilled: {s: s for s in _EXISTS},
    NetworkGranted: {S.STARTING: S.STARTING},
    NetworkReleased: {s: s for s in _EXISTS - _LIVE - {S.STARTING}},
    ConnectRequested: {s: s for s in _LIVE},
    Connected: {s: s for s in _EXISTS},
    ConnectFailed: {s: s for s in _EXISTS},
    DisconnectRequested: {s: s for s in _LIVE},
    Disconnected: {s: s for s in _EXISTS},
    DisconnectFailed: {s: s for s in _EXISTS},
    Unlinked: {s: s for s in _EXISTS},
}


def container(state: State, **fields: object) -> Container:
    """A container in a state, as its history would have left it."""
    pid = 7 if state in LIVE or state is S.REMOVING else 0
    return replace(
        Container(id=ID, state=state, version=5, name="web", spec=SPEC, attempt=1, pid=pid, rest=S.EXITED),
        **fields,  # type: ignore[arg-type]
    )


def recorded(event: Event, *, position: int = 10, version: int = 6, cause: int = 0, time: int = 1_000) -> Recorded:
    """The event as the store would give it."""
    return Recorded(position, StreamId("container", ID), version, time, event, Meta(cause=cause))


def test_the_table_names_every_event_of_a_container() -> None:
    """A new event cannot be forgotten here."""
    events = {move.event for transition in TRANSITIONS for move in transition.moves}
    assert events == set(TABLE) == set(EXAMPLES)


@pytest.mark.parametrize(("state", "event"), [*itertools.product(State, TABLE)])
def test_every_cell_leads_where_the_table_says_or_raises(state: State, event: type[Event]) -> None:
    """The fold is total: nothing that the table does not allow can ever be folded."""
    before, record = container(state), recorded(EXAMPLES[event])
    target = TABLE[event].get(state)
    if target is None:
        with pytest.raises(IllegalTransition):
            MACHINE.evolve(before, record)
    else:
        assert MACHINE.evolve(before, record).state is target


EXEC = Exec(exec_id="e1", exec=ExecSpec(argv=("ps",), tty=True), env=("A=1",), size=(24, 80))
COMMANDS: tuple[Command, ...] = (
    Create(name="web", spec=SPEC), Start(), StartScheduled(attempt=1), Stop(), Restart(), Kill(), Pause(), Unpause(),
    Rename(name="other"), Remove(), Remove(force=True), Commit(),
    ReportExit(attempt=1, code=0), Adopt(attempt=1, pid=7, start_time=9),
    EXEC, ReportExecExit(exec_id="e1", pid=8, start_time=9, code=0),
    Attach(streams=("stdout",)), Attach(streams=("stdout",), starting=True),
    NoteCopiedOut(path="/etc", bytes=1), NoteCopiedIn(path="/srv", bytes=1), NoteExported(bytes=1),
    ReportHealth(attempt=1, status="unhealthy", streak=3, exit_code=1), Update(restart=RestartPolicy(name="always")),
    Grant(lease=Lease(attempt=1, interfaces=(INTERFACE,))), Connect(attachment=SHOP, interface=INTERFACE),
    Disconnect(network="n1", name="shop"), Disconnect(network="n1", name="shop", force=True), Unlink(name="store"),
)  # fmt: skip


@pytest.mark.parametrize(("state", "command"), [*itertools.product(sorted(set(State) - TRANSIENT), COMMANDS)])
def test_what_is_decided_can_be_folded(state: State, command: Command) -> None:
    """A decision never gives an event that its own table refuses."""
    before = container(state)
    try:
        events = MACHINE.decide(before, command)
    except LadingError:
        return
    for event in events:
        before = MACHINE.evolve(before, recorded(event))


_FACTS = (
    Create, ReportHealth, ReportExit, ReportExecExit, Adopt, StartScheduled, NoteCopiedOut, NoteCopiedIn, NoteExported,
    Grant,
)  # fmt: skip


def test_only_create_is_possible_without_a_container() -> None:
    """Wishes about what is not there are answered with 'no such container'."""
    for command in COMMANDS:
        if isinstance(command, _FACTS):
            continue
        for state in (S.ABSENT, S.REMOVED):
            with pytest.raises(NotFound):
                MACHINE.decide(container(state), command)


def test_a_failed_start_leads_back_to_where_another_try_is_allowed() -> None:
    """Created stays created; a container that ran before is exited again."""
    for rest in (S.CREATED, S.EXITED):
        starting = MACHINE.evolve(container(rest), recorded(StartRequested(attempt=2)))
        failed = MACHINE.evolve(starting, recorded(StartFailed(attempt=2, reason="no"), version=7))
        assert failed.state is rest
        assert MACHINE.decide(failed, Start()) == (StartRequested(attempt=3),)


def test_an_exit_ends_the_stop_and_the_kills_of_its_run() -> None:
    """What was asked of a process that has ended is done."""
    running = container(S.RUNNING)
    asked = MACHINE.evolve(running, recorded(KillRequested(signal=15), position=11))
    asked = MACHINE.evolve(asked, recorded(StopRequested(signal=15, timeout=1), position=12, version=7))
    assert set(asked.open) == {11, 12}
    ended = MACHINE.evolve(asked, recorded(Exited(attempt=1, code=0), position=13, version=8))
    assert not ended.open


def test_an_exit_leaves_a_commit_open() -> None:
    """A commit reads files, not the process: it ends by its own outcome."""
    asked = MACHINE.evolve(container(S.RUNNING), recorded(CommitRequested(), position=11))
    ended = MACHINE.evolve(asked, recorded(Exited(attempt=1, code=0), position=12, version=7))
    assert ended.open == {11: "commit-requested.v1"}
    done = MACHINE.evolve(ended, recorded(Committed(image_id="sha256:1"), position=13, version=8, cause=11))
    assert not done.open


def test_the_same_exit_told_twice_is_one_event() -> None:
    """The supervisor tells at least once."""
    report = ReportExit(attempt=1, code=3, time=5)
    (exited,) = MACHINE.decide(container(S.RUNNING), report)
    ended = MACHINE.evolve(container(S.RUNNING), recorded(exited))
    assert MACHINE.decide(ended, report) == ()


def test_an_exit_of_an_earlier_run_is_not_news() -> None:
    """A late report must not end the run that came after."""
    assert MACHINE.decide(container(S.RUNNING, attempt=2), ReportExit(attempt=1, code=0)) == ()


def test_a_restart_starts_again_in_the_same_breath_as_the_exit() -> None:
    """Between the two no crash can forget the second half."""
    stopping = MACHINE.evolve(container(S.RUNNING), recorded(StopRequested(signal=15, timeout=1, then_start=True)))
    events = MACHINE.decide(stopping, ReportExit(attempt=1, code=0))
    assert [type(event) for event in events] == [Exited, StartRequested]


def test_a_stop_calls_off_the_start_of_a_restart() -> None:
    """The last wish counts: an acknowledged stop is not followed by a start."""
    stopping = MACHINE.evolve(container(S.RUNNING), recorded(StopRequested(signal=15, timeout=9, then_start=True)))
    (again,) = MACHINE.decide(stopping, Stop(timeout=0))
    stopped = MACHINE.evolve(stopping, recorded(again, position=12, version=8))
    assert [type(event) for event in MACHINE.decide(stopped, ReportExit(attempt=1, code=0))] == [Exited]
    assert MACHINE.decide(stopped, Stop()) == ()


def test_auto_remove_is_asked_for_with_the_exit() -> None:
    """`--rm` survives a crash right after the exit."""
    spec = SPEC.model_copy(update={"auto_remove": True})
    events = MACHINE.decide(container(S.RUNNING, spec=spec), ReportExit(attempt=1, code=0))
    assert [type(event) for event in events] == [Exited, RemoveRequested]


@pytest.mark.parametrize(
    ("policy", "code", "manual", "restarts", "again"),
    [
        ("no", 1, False, 0, False),
        ("always", 0, False, 0, True),
        ("always", 0, True, 0, False),
        ("unless-stopped", 0, False, 0, True),
        ("unless-stopped", 0, True, 0, False),
        ("on-failure", 0, False, 0, False),
        ("on-failure", 1, False, 0, True),
        ("on-failure:2", 1, False, 1, True),
        ("on-failure:2", 1, False, 2, False),
    ],
)
def test_the_restart_policy(policy: str, code: int, manual: bool, restarts: int, again: bool) -> None:
    """Who ends a container by hand ends its policy until the next start."""
    name, _, retries = policy.partition(":")
    rule = RestartPolicy(name=name, retries=int(retries or 0))  # type: ignore[arg-type]
    before = container(S.RUNNING, spec=SPEC.model_copy(update={"restart": rule}), manual=manual, restarts=restarts)
    events = MACHINE.decide(before, ReportExit(attempt=1, code=code, time=1))
    assert any(isinstance(event, RestartScheduled) for event in events) is again


def test_waiting_times_double_up_to_a_minute_and_begin_anew_after_a_steady_run() -> None:
    """Quick failures must not spin, a rare one must not wait."""
    rule = RestartPolicy(name="always")
    spec = SPEC.model_copy(update={"restart": rule})
    delays = []
    for streak in (0, 1, 2, 3, 30):
        before = container(S.RUNNING, spec=spec, streak=streak, started_at=0)
        (_, scheduled) = MACHINE.decide(before, ReportExit(attempt=1, code=1, time=1))
        assert isinstance(scheduled, RestartScheduled)
        delays.append(scheduled.delay)
    assert delays == [0.1, 0.2, 0.4, 0.8, 60.0]
    steady = container(S.RUNNING, spec=spec, streak=9, started_at=0)
    (_, scheduled) = MACHINE.decide(steady, ReportExit(attempt=1, code=1, time=11_000_000_000))
    assert isinstance(scheduled, RestartScheduled)
    assert scheduled.delay == 0.1


def test_stop_of_a_waiting_container_cancels_its_restart() -> None:
    """`stop` works in the waiting state, and so does a `kill` that means the end."""
    assert MACHINE.decide(container(S.RESTARTING), Stop()) == (RestartCancelled(),)
    assert MACHINE.decide(container(S.RESTARTING), Kill()) == (RestartCancelled(),)
    with pytest.raises(Refused, match="is restarting, wait until"):
        MACHINE.decide(container(S.RESTARTING), Kill(signal=1))


def test_wishes_that_are_fulfilled_already_give_no_event() -> None:
    """Start of a running and stop of a stopped container succeed and change nothing."""
    assert MACHINE.decide(container(S.RUNNING), Start()) == ()
    for state in (S.CREATED, S.EXITED, S.STOPPING):
        assert MACHINE.decide(container(state), Stop()) == ()


@pytest.mark.parametrize(
    ("state", "command", "text"),
    [
        (S.PAUSED, Start(), "cannot start a paused container, try unpause instead"),
        (S.EXITED, Kill(), f"cannot kill container: web: container {ID} is not running"),
        (S.PAUSED, Pause(), "Container web is already paused"),
        (S.RUNNING, Unpause(), "Container web is not paused"),
        (S.RUNNING, Remove(), 'cannot remove container "web": container is running: stop the container before'),
        (S.RESTARTING, Pause(), "is restarting, wait until the container is running"),
        (S.EXITED, EXEC, f"container {ID} is not running"),
        (S.CREATED, EXEC, f"container {ID} is not running"),
        (S.DEAD, EXEC, f"container {ID} is not running"),
        (S.PAUSED, EXEC, "Container web is paused, unpause the container before exec"),
        (S.RESTARTING, EXEC, "wait until the container is running"),
        (S.EXITED, Attach(), "You cannot attach to a stopped container, start it first"),
        (S.PAUSED, Attach(), "You cannot attach to a paused container, unpause it first"),
        (S.RESTARTING, Attach(), "You cannot attach to a restarting container, wait until it is running"),
    ],
)
def test_refusals_use_the_words_that_scripts_match(state: State, command: Command, text: str) -> None:
    """Scripts written for the industry's CLI look for these texts."""
    with pytest.raises(Refused) as refused:
        MACHINE.decide(container(state), command)
    assert text in str(refused.value)


@given(st.lists(st.sampled_from(COMMANDS), max_size=30), st.data())
def test_random_wishes_and_outcomes_never_break_the_fold(commands: list[Command], data: st.DataObject) -> None:
    """Whatever is asked in whatever order: each wish is refused or its events fold, and the version counts them."""
    now = Container(id=ID)
    position = 0
    for command in commands:
        try:
            events = MACHINE.decide(now, command)
        except LadingError:
            events = ()
        for event in events:
            position += 1
            now = MACHINE.evolve(now, recorded(event, position=position, version=now.version + 1, time=position))
        legal = [e for e in EXAMPLES.values() if now.state in TABLE[type(e)] and e.settles]
        if legal and data.draw(st.sampled_from((True, False))):
            position += 1
            outcome: Event = data.draw(st.sampled_from(legal))
            now = MACHINE.evolve(now, recorded(outcome, position=position, version=now.version + 1, time=position))
    assert now.version == position


def test_a_commit_under_an_impossible_name_is_refused_before_anything_is_recorded() -> None:
    """An intent that can never have an outcome would stay open for ever."""
    with pytest.raises(Refused):
        MACHINE.decide(container(S.RUNNING), Commit(reference="Not A Name"))


def _asked(state: State = S.RUNNING) -> Container:
    """A container in which a command was asked for and has no outcome yet."""
    (requested,) = MACHINE.decide(container(state), EXEC)
    return MACHINE.evolve(container(state), recorded(requested, position=11))


def _executed() -> Container:
    started = ExecStarted(exec_id="e1", pid=8, start_time=9)
    return MACHINE.evolve(_asked(), recorded(started, position=12, version=7, cause=11, time=2_000))


def test_what_was_executed_lives_in_the_fold_until_its_end_is_known() -> None:
    """`ExecIDs` of inspect and the recovery read it there."""
    asked = _asked()
    assert asked.open == {11: "exec-requested.v1"}
    assert (asked.execs["e1"].pid, asked.execs["e1"].attempt, asked.execs["e1"].requested) == (0, 1, 11)
    executed = _executed()
    assert not executed.open
    assert (executed.execs["e1"].pid, executed.execs["e1"].started_at) == (8, 2_000)
    (ended,) = MACHINE.decide(executed, ReportExecExit(exec_id="e1", pid=8, start_time=9, code=3, time=5))
    assert ended == ExecExited(exec_id="e1", code=3, ended=5)
    assert not MACHINE.evolve(executed, recorded(ended, version=8)).execs


def test_a_process_that_ends_before_its_start_is_recorded_gives_both_events() -> None:
    """The outcome of the work and the report of the end travel on different ways."""
    report = ReportExecExit(exec_id="e1", pid=8, start_time=9, code=0)
    events = MACHINE.decide(_asked(), report)
    assert [type(event) for event in events] == [ExecStarted, ExecExited]
    over = MACHINE.evolve(MACHINE.evolve(_asked(), recorded(events[0], cause=11)), recorded(events[1], version=7))
    assert (over.open, over.execs) == ({}, {})
    assert MACHINE.decide(over, report) == ()


def test_a_command_that_could_not_be_executed_leaves_nothing_in_the_fold() -> None:
    """Nothing of it lives."""
    failed = MACHINE.evolve(_asked(), recorded(ExecFailed(exec_id="e1", reason="no", exit_code=127), cause=11))
    assert (failed.open, failed.execs, failed.state) == ({}, {}, S.RUNNING)


def test_the_outcome_of_one_exec_leaves_the_others_open() -> None:
    """Many people may be in one container at a time."""
    other = MACHINE.decide(_asked(), EXEC.model_copy(update={"exec_id": "e2"}))[0]
    both = MACHINE.evolve(_asked(), recorded(other, position=12, version=7))
    one = MACHINE.evolve(both, recorded(ExecStarted(exec_id="e2", pid=9, start_time=9), version=8, cause=12))
    assert one.open == {11: "exec-requested.v1"}
    assert (one.execs["e1"].pid, one.execs["e2"].pid) == (0, 9)


@pytest.mark.parametrize("next_run", [False, True])
def test_each_process_gets_its_end_although_the_run_has_ended(next_run: bool) -> None:
    """They end with the first process; their reports may come before, after, or when the next run has begun."""
    ended = MACHINE.evolve(_executed(), recorded(Exited(attempt=1, code=0), position=13, version=8))
    assert set(ended.execs) == {"e1"}
    if next_run:
        ended = MACHINE.evolve(ended, recorded(StartRequested(attempt=2), position=14, version=9))
    (over,) = MACHINE.decide(ended, ReportExecExit(exec_id="e1", pid=8, start_time=9, code=137, signal=9))
    assert not MACHINE.evolve(ended, recorded(over, version=10)).execs


def test_the_size_of_the_terminal_is_part_of_what_was_asked_for() -> None:
    """It is set before the process writes its first byte, also when the work is done after a crash."""
    assert MACHINE.decide(container(S.EXITED), Start(size=(40, 120))) == (StartRequested(attempt=2, size=(40, 120)),)
    (requested,) = MACHINE.decide(container(S.RUNNING), EXEC)
    assert isinstance(requested, ExecRequested)
    assert requested.size == (24, 80)


def test_a_stop_takes_the_place_of_the_stop_before_it() -> None:
    """A restart that was called off has no outcome of its own any more: there is one failure, and it is legal."""
    stopping = MACHINE.evolve(container(S.RUNNING), recorded(StopRequested(signal=15, timeout=9, then_start=True)))
    (again,) = MACHINE.decide(stopping, Stop(timeout=0))
    stopped = MACHINE.evolve(stopping, recorded(again, position=12, version=8))
    assert stopped.open == {12: "stop-requested.v1"}
    failed = MACHINE.evolve(stopped, recorded(StopFailed(reason="no"), position=13, version=9, cause=12))
    assert (failed.state, failed.open, failed.manual) == (S.RUNNING, {}, False)


@pytest.mark.parametrize("removed_in_vain", [False, True])
def test_a_stop_that_fails_during_a_removal_does_not_disturb_it(removed_in_vain: bool) -> None:
    """`rm -f` comes between: who asked for the end last is who is told in the history of it."""
    stopping = MACHINE.evolve(container(S.RUNNING), recorded(StopRequested(signal=15, timeout=9), position=11))
    removing = MACHINE.evolve(stopping, recorded(RemoveRequested(force=True), position=12, version=7))
    if removed_in_vain:
        removing = MACHINE.evolve(removing, recorded(RemoveFailed(residue="a process"), position=13, version=8))
    failed = MACHINE.evolve(removing, recorded(StopFailed(reason="no"), position=14, version=9, cause=11))
    assert failed.state is removing.state
    assert (failed.requested, failed.manual, 11 in failed.open) == (12, True, False)


def test_a_process_that_outlived_its_removal_ends_at_last() -> None:
    """The kernel has let go of it: the next removal has nothing to wait for."""
    dead = container(S.DEAD, pid=7)
    (exited,) = MACHINE.decide(dead, ReportExit(attempt=1, code=137, signal=9))
    after = MACHINE.evolve(dead, recorded(exited))
    assert (after.state, after.pid) == (S.DEAD, 0)
    assert MACHINE.decide(container(S.DEAD, pid=0), ReportExit(attempt=1, code=137)) == ()


def test_who_attaches_is_a_fact_that_changes_nothing() -> None:
    """Every participation is in the audit."""
    (attached,) = MACHINE.decide(container(S.RUNNING), Attach(streams=("stdin", "stdout"), tty=True))
    assert attached == Attached(streams=("stdin", "stdout"), tty=True)
    (early,) = MACHINE.decide(container(S.CREATED), Attach(streams=("stdout",), starting=True))
    assert MACHINE.evolve(container(S.CREATED), recorded(early)).state is S.CREATED


def _checked(action: HealthAction = "none", **fields: object) -> Container:
    check = HealthCheck(test=("CMD", "true"), action=action)
    return container(S.RUNNING, spec=SPEC.model_copy(update={"health": check}), health="starting", **fields)


UNWELL = ReportHealth(attempt=1, status="unhealthy", streak=3, exit_code=1, output="no")


def test_health_is_recorded_only_when_it_changes() -> None:
    """A thousand probes that say the same are no news."""
    (changed,) = MACHINE.decide(_checked(), UNWELL)
    assert changed == HealthChanged(status="unhealthy", streak=3, exit_code=1, output="no")
    after = MACHINE.evolve(_checked(), recorded(changed))
    assert (after.health, after.health_streak, after.state) == ("unhealthy", 3, S.RUNNING)
    assert MACHINE.decide(after, UNWELL) == ()


@pytest.mark.parametrize("state", sorted(set(State) - {S.RUNNING}))
def test_a_verdict_about_what_does_not_run_is_no_news(state: State) -> None:
    """Paused, stopping or gone: the probe has seen something else than the container at work."""
    assert MACHINE.decide(replace(_checked(), state=state), UNWELL) == ()
    assert MACHINE.decide(_checked(attempt=2), UNWELL) == ()


@pytest.mark.parametrize(
    ("action", "wanted"),
    [
        ("none", ()),
        ("restart", (StopRequested(signal=15, timeout=10, then_start=True),)),
        ("kill", (KillRequested(signal=9),)),
    ],
)
def test_what_is_done_with_an_unhealthy_container_is_decided_with_the_verdict(
    action: HealthAction, wanted: tuple[Event, ...]
) -> None:
    """Between the two no crash can forget the second half; the restart policy still decides about what was killed."""
    _, *consequences = MACHINE.decide(_checked(action), UNWELL)
    assert tuple(consequences) == wanted
    well = ReportHealth(attempt=1, status="healthy", streak=0, exit_code=0)
    assert len(MACHINE.decide(_checked(action), well)) == 1


def test_every_run_begins_without_a_verdict() -> None:
    """What the last run was like says nothing about this one; without a check there is nothing to say."""
    starting = replace(_checked(), state=S.STARTING, health="unhealthy", health_streak=9)
    started = recorded(Started(attempt=1, pid=7, start_time=9))
    fresh = MACHINE.evolve(starting, started)
    assert (fresh.health, fresh.health_streak) == ("starting", 0)
    assert MACHINE.evolve(container(S.STARTING), started).health == ""


def _policy(text: str) -> RestartPolicy:
    name, _, retries = text.partition(":")
    return RestartPolicy(name=name, retries=int(retries or 0))  # type: ignore[arg-type]


def test_an_update_says_what_the_policy_was() -> None:
    """The history tells who changed what; the same policy again is no change."""
    before = container(S.RUNNING)
    (updated,) = MACHINE.decide(before, Update(restart=_policy("always")))
    assert updated == Updated(restart=_policy("always"), old=_policy("no"))
    after = MACHINE.evolve(before, recorded(updated))
    assert after.settled.restart == _policy("always")
    assert MACHINE.decide(after, Update(restart=_policy("always"))) == ()
    assert any(isinstance(event, RestartScheduled) for event in MACHINE.decide(after, ReportExit(attempt=1, code=1)))


def test_kills_for_lack_of_memory_are_told_once_and_by_name() -> None:
    """A report counts from the beginning of the run; what no name is known of is told without one."""
    report = ReportMemoryKills(attempt=1, kills=3, victims=((8, "tail"), (9, "sh")))
    first, second, third = MACHINE.decide(container(S.RUNNING), report)
    assert first == OomKilled(attempt=1, kills=1)
    assert (second, third) == (OomKilled(attempt=1, kills=2, pid=8, name="tail"),
                               OomKilled(attempt=1, kills=3, pid=9, name="sh"))
    after = MACHINE.evolve(container(S.RUNNING), recorded(third))
    assert MACHINE.decide(after, report) == ()
    assert MACHINE.decide(after, report.model_copy(update={"attempt": 2})) == ()
    assert len(MACHINE.decide(after, ReportMemoryKills(attempt=1, kills=10_000))) == 8


def test_limits_of_what_lives_are_an_intent_and_of_what_rests_a_fact() -> None:
    """The kernel has to be told about the first; both say what was before, and the same limits again are no change."""
    wish = Update(limits={"memory": 64 << 20})
    after = Resources(memory=64 << 20, memory_swap=128 << 20)
    assert MACHINE.decide(container(S.RUNNING), wish) == (LimitsRequested(limits=after, before=Resources()),)
    (changed,) = MACHINE.decide(container(S.EXITED), wish)
    assert changed == LimitsChanged(limits=after, before=Resources())
    limited = MACHINE.evolve(container(S.EXITED), recorded(changed))
    assert limited.settled.limits == after
    assert MACHINE.decide(limited, wish) == ()


def test_a_kernel_that_refuses_limits_brings_back_those_before() -> None:
    """Unless another update has come meanwhile."""
    (asked,) = MACHINE.decide(container(S.RUNNING), Update(limits={"cpu_shares": 512}))
    assert isinstance(asked, LimitsRequested)
    waiting = MACHINE.evolve(container(S.RUNNING), recorded(asked))
    refused = recorded(LimitsFailed(limits=asked.limits, before=asked.before, reason="busy"), position=12, version=7)
    assert MACHINE.evolve(waiting, refused).settled.limits == Resources()
    (again,) = MACHINE.decide(waiting, Update(limits={"cpu_shares": 2}))
    later = MACHINE.evolve(waiting, recorded(again, position=11, version=7))
    refused = replace(refused, version=8)
    assert MACHINE.evolve(later, refused).settled.limits == Resources(cpu_shares=2)


@pytest.mark.parametrize(
    ("policy", "code", "cancelled"),
    [("no", 1, True), ("on-failure", 0, True), ("on-failure", 1, False), ("on-failure:2", 1, True),
     ("unless-stopped", 1, False)],
)  # fmt: skip
def test_a_container_that_waits_for_its_restart_obeys_the_new_policy(policy: str, code: int, cancelled: bool) -> None:
    """An update is no promise for the next time only."""
    spec = SPEC.model_copy(update={"restart": _policy("always")})
    waiting = container(S.RESTARTING, spec=spec, exit_code=code, restarts=2)
    events = MACHINE.decide(waiting, Update(restart=_policy(policy)))
    assert any(isinstance(event, RestartCancelled) for event in events) is cancelled
    for number, event in enumerate(events):
        waiting = MACHINE.evolve(waiting, recorded(event, version=6 + number))
    assert waiting.state is (S.EXITED if cancelled else S.RESTARTING)


def test_what_removes_itself_is_never_started_again() -> None:
    """`--rm` and a restart policy contradict each other, now as at the beginning."""
    own = container(S.RUNNING, spec=SPEC.model_copy(update={"auto_remove": True}))
    with pytest.raises(Refused, match="AutoRemove is enabled"):
        MACHINE.decide(own, Update(restart=_policy("always")))
    assert MACHINE.decide(own, Update(restart=_policy("no"))) == ()


def test_the_streams_of_whoever_created_it_are_remembered() -> None:
    """`inspect` tells them; who attaches later is only in the history."""
    created = MACHINE.evolve(container(S.CREATED, attempt=0), recorded(Attached(streams=("stdout", "stderr"))))
    assert created.attached == ("stdout", "stderr")
    assert MACHINE.evolve(container(S.RUNNING), recorded(Attached(streams=("stdin",)))).attached == ()
