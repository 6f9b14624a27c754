"""Events as clients know them: what happens in and around a running container."""

from domain.lifecycle.attach import Attached
from domain.lifecycle.exec import ExecExited, ExecFailed, ExecRequested, ExecStarted
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.start import Started, StartRequested
from domain.lifecycle.update import Updated
from domain.notices import Narrator, Notice
from domain.spec import ExecSpec, RestartPolicy
from tests.domain.stories import ENGINE, Story


def told(story: Story) -> list[Notice]:
    """Everything that is told of it."""
    narrator = Narrator()
    return [notice for record in story.records for notice in narrator.tell(record)]


def running() -> Story:
    """A container that was created, watched and started."""
    story = Story()
    story.tell(Attached(streams=("stdout", "stderr")))
    story.tell(StartRequested(attempt=1))
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE)
    return story


def test_who_runs_a_container_attaches_before_it_starts() -> None:
    """In the order that clients know."""
    assert [notice.action for notice in told(running())] == ["create", "attach", "start"]


def test_an_exec_is_three_notices_with_its_command_line() -> None:
    """Values of variables are in none of them."""
    story = running()
    spec = ExecSpec(argv=("sh", "-c", "echo a b"), env_names=("TOKEN",))
    story.tell(ExecRequested(exec_id="e1", exec=spec, attempt=1, env=("TOKEN=hunter2",)))
    story.tell(ExecStarted(exec_id="e1", pid=8, start_time=9), ENGINE)
    story.tell(ExecExited(exec_id="e1", code=3), ENGINE)
    notices = told(story)[3:]
    assert [(notice.action, notice.attributes.get("exitCode")) for notice in notices] == [
        ("exec_create: sh -c 'echo a b'", None),
        ("exec_start: sh -c 'echo a b'", None),
        ("exec_die", "3"),
    ]
    assert all(notice.attributes["execID"] == "e1" for notice in notices)
    assert "hunter2" not in repr(notices)


def test_a_command_that_could_not_be_executed_dies_without_a_start() -> None:
    """With the status that its client got."""
    story = running()
    story.tell(ExecRequested(exec_id="e1", exec=ExecSpec(argv=("nosuch",)), attempt=1))
    story.tell(ExecFailed(exec_id="e1", reason="no", exit_code=127), ENGINE)
    assert [notice.action for notice in told(story)[3:]] == ["exec_create: nosuch", "exec_die"]
    assert told(story)[-1].attributes["exitCode"] == "127"


def test_changes_of_health_and_of_the_policy_are_told() -> None:
    """In the words that scripts wait for."""
    story = running()
    story.tell(HealthChanged(status="healthy", streak=0, exit_code=0), ENGINE)
    story.tell(Updated(restart=RestartPolicy(name="always"), old=RestartPolicy()))
    assert [notice.action for notice in told(story)[3:]] == ["health_status: healthy", "update"]
