"""The history of a container as steps."""

from domain.audit import detail, facts, steps
from domain.lifecycle.attach import Attached
from domain.lifecycle.create import Created
from domain.lifecycle.exec import ExecExited, ExecRequested, ExecStarted
from domain.lifecycle.exit import Exited
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import KillRequested
from domain.lifecycle.rename import Renamed
from domain.lifecycle.start import Started, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.lifecycle.update import Updated
from domain.spec import ContainerSpec, ExecSpec, RestartPolicy
from tests.domain.stories import ENGINE, SECOND, Story


def test_a_step_took_the_time_from_the_wish_to_its_outcome() -> None:
    """And a run the time from its start to its end."""
    story = Story()
    wish = story.tell(StartRequested(attempt=1))
    story.now += 4 * SECOND
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE, wish)
    story.now += 9 * SECOND
    story.tell(Exited(attempt=1, code=0, ended=story.now), ENGINE)
    told = list(steps(story.records))
    assert [(step.event, step.state, step.took) for step in told] == [
        ("created", "created", None),
        ("start-requested", "starting", None),
        ("started", "running", 5 * SECOND),
        ("exited", "exited", 9 * SECOND),
    ]
    assert [step.by for step in told] == ["ann", "ann", "engine", "engine"]


def test_what_ended_before_its_start_was_written_down_took_nobody_knows_how_long() -> None:
    """Zero would be a lie: who reads the history adds these times up."""
    story = Story()
    wish = story.tell(StartRequested(attempt=1))
    ended = story.now
    story.now += 4 * SECOND
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE, wish)
    story.tell(Exited(attempt=1, code=0, ended=ended), ENGINE)
    assert list(steps(story.records))[-1].took is None


def test_sealed_values_are_in_no_step() -> None:
    """Names of variables are told, values never."""
    created = Created(name="web", spec=ContainerSpec(image="a", image_id="b"), env=("TOKEN=hunter2", "EMPTY="))
    assert facts(created)["env"] == ["TOKEN=(secret)", "EMPTY=(secret)"]
    assert "hunter2" not in detail(created)
    assert "env=TOKEN,EMPTY" in detail(created)


def test_details_name_what_matters() -> None:
    """In words, without what is empty."""
    assert detail(KillRequested(signal=9, ends=True)) == "signal=SIGKILL ends=True"
    assert detail(StopRequested(signal=15, timeout=3)) == "signal=SIGTERM timeout=3"
    assert detail(Exited(attempt=2, code=0)) == "attempt=2 code=0 how=self"
    assert detail(Exited(attempt=1, code=137, signal=9, oom=True, how="oom", ended=5, requested=3)) == (
        "attempt=1 code=137 signal=SIGKILL oom=True how=oom"
    )
    assert detail(Renamed(name="new", old="old")) == "name=new old=old"
    spec = ContainerSpec(image="alpine", image_id="x", entrypoint=("sh", "-c"), command=("echo a b",))
    assert detail(Created(name="web", spec=spec)) == "name=web image=alpine command=\"sh -c 'echo a b'\""


def test_an_exec_tells_its_command_its_time_and_its_status() -> None:
    """Who did what in whose container, for how long, and how it ended; no value of a variable."""
    story = Story()
    story.tell(StartRequested(attempt=1))
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE)
    spec = ExecSpec(argv=("sh", "-c", "a b"), user="www", tty=True, env_names=("TOKEN",))
    wanted = ExecRequested(exec_id="e" * 64, exec=spec, attempt=1, env=("TOKEN=hunter2",), size=(24, 80))
    wish = story.tell(wanted)
    story.tell(ExecStarted(exec_id="e" * 64, pid=8, start_time=9), ENGINE, wish)
    story.now += 6 * SECOND
    story.tell(ExecExited(exec_id="e" * 64, code=3, ended=story.now + SECOND), ENGINE, wish)
    requested, started, ended = list(steps(story.records))[-3:]
    assert (requested.by, started.took, ended.took, ended.state) == ("ann", SECOND, 7 * SECOND, "running")
    assert requested.detail == (
        "exec=eeeeeeeeeeee command=\"sh -c 'a b'\" user=www tty attempt=1 env=TOKEN size=24x80 by=user"
    )
    assert ended.detail == "exec=eeeeeeeeeeee code=3 how=self"
    assert "hunter2" not in str([step.detail for step in steps(story.records)])


def test_the_other_facts_are_told_in_a_few_words() -> None:
    """Who took part, and which policy holds."""
    assert detail(Attached(streams=("stdin", "stdout"), tty=True)) == "streams=stdin,stdout tty=True"
    updated = Updated(restart=RestartPolicy(name="on-failure", retries=3), old=RestartPolicy())
    assert detail(updated) == "restart=on-failure:3 old=no"
    changed = HealthChanged(status="unhealthy", streak=3, exit_code=1, output="no answer\nat all\n")
    assert detail(changed) == "status=unhealthy streak=3 exit_code=1 output='no answer\\nat all\\n'"
