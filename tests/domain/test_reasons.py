"""Why a container ended: every way to end has its own sentence, its own grade, and its own culprit."""

import pytest

from domain.lifecycle.attach import Attached
from domain.lifecycle.exec import ExecExited, ExecRequested
from domain.lifecycle.exit import Exited, RestartScheduled
from domain.lifecycle.health import HealthChanged
from domain.lifecycle.kill import KillRequested, SignalSent
from domain.lifecycle.pause import Paused, PauseRequested
from domain.lifecycle.remove import Removed, RemoveRequested
from domain.lifecycle.shortage import OomKilled
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.lifecycle.stop import StopRequested
from domain.messages import Actor
from domain.reasons import reason
from domain.spec import ExecSpec, HealthCheck
from tests.domain.stories import ANN, ENGINE, SECOND, Story


def running() -> Story:
    """A container that runs."""
    story = Story()
    wish = story.tell(StartRequested(attempt=1))
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE, wish)
    return story


def ended(
    story: Story, code: int, *, signal: int = 0, how: str = "self", requested: int = 0, oom: bool = False
) -> Story:
    """And then it ended."""
    ended_at = story.now + SECOND
    story.tell(
        Exited(attempt=1, code=code, signal=signal, how=how, oom=oom, ended=ended_at, requested=requested),
        ENGINE,
        requested,
    )
    return story


def test_the_end_by_itself_is_known() -> None:
    """Nobody asked, no signal came."""
    for code, words in ((0, "its command was done (status 0)"), (3, "status 3: its own command decided so")):
        answer = reason(ended(running(), code).records)
        assert (answer.grade, answer.asker, answer.signal) == ("known", None, "")
        assert words in answer.sentence


def test_a_status_above_128_is_only_likely_to_come_from_a_signal() -> None:
    """Shells give it for a command of theirs; a program may give it, too."""
    answer = reason(ended(running(), 139).records)
    assert answer.grade == "likely"
    assert "SIGSEGV" in answer.sentence


def test_memory_is_known() -> None:
    """The kernel counts its kills."""
    answer = reason(ended(running(), 137, signal=9, how="oom", oom=True).records)
    assert (answer.grade, answer.signal, answer.sender) == ("known", "SIGKILL", "the kernel")
    assert "ran out of memory" in answer.sentence


def test_a_child_that_ran_out_of_memory_is_named_as_the_likely_reason() -> None:
    """The first process decided by itself how it ended; what happened in it just before says why."""
    story = running()
    story.tell(OomKilled(attempt=1, kills=1, pid=9, name="postgres", limit=64 << 20))
    answer = reason(ended(story, 1, oom=True).records)
    assert (answer.grade, answer.signal) == ("likely", "")
    assert "after the kernel had killed postgres in it: out of memory" in answer.sentence


def test_a_stop_names_who_asked() -> None:
    """With the proven user and the signal."""
    story = running()
    wish = story.tell(StopRequested(signal=15, timeout=10))
    answer = reason(ended(story, 143, signal=15, how="signal", requested=wish).records)
    assert answer.sentence == "web ended by SIGTERM, which ann sent with stop"
    assert answer.asker is not None
    assert (answer.grade, answer.asker.actor, answer.asker.position) == ("known", ANN, wish)


def test_a_stop_that_ran_out_of_patience_says_so() -> None:
    """137 alone hides that."""
    story = running()
    wish = story.tell(StopRequested(signal=15, timeout=10))
    answer = reason(ended(story, 137, signal=9, how="signal", requested=wish).records)
    assert "did not end within its time after SIGTERM" in answer.sentence
    assert "--init" in answer.suggestion


def test_a_stop_that_the_program_answered_with_a_status_is_likely() -> None:
    """It may have ended at that moment for another reason."""
    story = running()
    wish = story.tell(StopRequested(signal=15, timeout=10))
    answer = reason(ended(story, 0, requested=wish).records)
    assert (answer.grade, answer.sentence) == ("likely", "web ended with status 0 after ann asked with stop (SIGTERM)")


@pytest.mark.parametrize(
    ("signal", "words"), [(9, "so another process of the host sent it"), (11, "its own process crashed")]
)
def test_a_signal_that_nobody_asked_for_is_likely_from_outside(signal: int, words: str) -> None:
    """And it says what was looked at."""
    answer = reason(ended(running(), 128 + signal, signal=signal, how="signal").records)
    assert answer.grade == "likely"
    assert words in answer.sentence
    assert answer.looked_at


def test_a_signal_that_was_outlived_for_long_is_not_the_reason() -> None:
    """HUP in the morning does not explain the evening."""
    story = running()
    wish = story.tell(KillRequested(signal=1))
    story.tell(SignalSent(signal=1), ENGINE, wish)
    story.now += 3600 * SECOND
    answer = reason(ended(story, 1, requested=wish).records)
    assert answer.asker is None
    assert "its own command decided so" in answer.sentence


def test_what_nobody_knows_is_unknown_and_says_what_was_looked_at() -> None:
    """Never 0, never a guess."""
    answer = reason(ended(running(), -1, how="unknown").records)
    assert answer.grade == "unknown"
    assert answer.looked_at


def test_a_reboot_is_known() -> None:
    """The boot id has changed."""
    assert "the host was rebooted" in reason(ended(running(), -1, how="reboot").records).sentence


def test_rm_with_force_is_named_as_such() -> None:
    """It works for what is gone."""
    story = running()
    wish = story.tell(RemoveRequested(force=True))
    ended(story, 137, signal=9, how="signal", requested=wish)
    story.tell(Removed(), ENGINE, wish)
    assert reason(story.records).sentence == "web ended by SIGKILL, which ann sent with rm -f"


@pytest.mark.parametrize(("code", "words"), [(127, "spelling"), (126, "not executable"), (125, "lading start")])
def test_a_start_that_failed_is_the_reason(code: int, words: str) -> None:
    """With what to look at."""
    story = Story()
    wish = story.tell(StartRequested(attempt=1))
    story.tell(StartFailed(attempt=1, reason="no such file", exit_code=code), ENGINE, wish)
    answer = reason(story.records)
    assert answer.sentence == "web could not be started: no such file"
    assert words in answer.suggestion
    story.tell(RemoveRequested(by="auto-remove"), ENGINE)
    story.tell(Removed(), ENGINE)
    assert reason(story.records).sentence == "web could not be started and was removed: no such file"


def test_a_start_that_fails_after_a_good_run_comes_first() -> None:
    """The last thing that happened is the reason."""
    story = ended(running(), 0)
    wish = story.tell(StartRequested(attempt=2))
    story.tell(StartFailed(attempt=2, reason="disk full"), ENGINE, wish)
    assert reason(story.records).sentence == "web could not be started: disk full"


def test_what_did_not_end_says_how_it_is() -> None:
    """why answers for every state."""
    assert reason(Story().records).sentence == "web was created and never started"
    assert reason(running().records).sentence == "web is running"
    story = running()
    wish = story.tell(PauseRequested(), Actor(via="nats", user="bob"))
    story.tell(Paused(), ENGINE, wish)
    answer = reason(story.records)
    assert answer.asker is not None
    assert (answer.sentence, answer.asker.actor.user) == ("web is paused", "bob")
    removed = Story()
    removed.tell(RemoveRequested())
    removed.tell(Removed(), ENGINE)
    assert reason(removed.records).sentence == "web was removed before it ever ran"


def test_a_restart_loop_says_how_often() -> None:
    """Running, but not well."""
    story = ended(running(), 1)
    scheduled = story.tell(RestartScheduled(attempt=1, delay=0.1, count=1), ENGINE)
    wish = story.tell(StartRequested(attempt=2, by="policy"), ENGINE, scheduled)
    story.tell(Started(attempt=2, pid=7, start_time=8), ENGINE, wish)
    assert reason(story.records).sentence == "web is running: its restart policy has started it once"


def test_the_chain_is_that_of_the_last_run_with_the_time_of_each_step() -> None:
    """From the wish to start it to its end."""
    story = ended(running(), 0)
    chain = reason(story.records).chain
    assert [type(step.record.event).__name__ for step in chain] == ["StartRequested", "Started", "Exited"]
    assert [step.took for step in chain] == [0, SECOND, SECOND]


POLICY = Actor(via="engine", user="policy")


def _unwell(story: Story, output: str = "no answer\nat all") -> None:
    story.tell(StartRequested(attempt=1))
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE)
    story.tell(HealthChanged(status="unhealthy", streak=3, exit_code=1, output=output), POLICY)


def test_what_runs_and_is_unhealthy_says_what_its_check_has_found() -> None:
    """The first line of the probe's own words."""
    story = Story()
    story.spec = story.spec.model_copy(update={"health": HealthCheck(test=("CMD", "x"))})
    _unwell(story)
    assert reason(story.records).sentence == (
        "web is running and unhealthy: its check failed 3 times in a row, and the last one ended with status 1 "
        "(no answer)"
    )


def test_a_restart_for_the_sake_of_health_is_told() -> None:
    """Nobody has asked for it but the user's own wish at the beginning."""
    story = Story()
    _unwell(story)
    asked = story.tell(StopRequested(signal=15, timeout=10, then_start=True), POLICY)
    story.tell(Exited(attempt=1, code=143, signal=15, how="signal", ended=story.now, requested=asked), ENGINE)
    assert "was ended by SIGTERM because it was unhealthy" in reason(story.records).sentence
    story.tell(StartRequested(attempt=2, by="restart"), ENGINE)
    story.tell(Started(attempt=2, pid=6, start_time=7), ENGINE)
    assert "it was restarted because it was unhealthy: its check failed 3 times" in reason(story.records).sentence


def test_a_kill_for_the_sake_of_health_is_told() -> None:
    """With the name of who it was: not the memory killer, not a stranger."""
    story = Story()
    _unwell(story, "")
    asked = story.tell(KillRequested(signal=9), POLICY)
    story.tell(Exited(attempt=1, code=137, signal=9, how="signal", ended=story.now, requested=asked), ENGINE)
    told = reason(story.records)
    assert told.grade == "known"
    assert told.sentence == (
        "web was ended by SIGKILL because it was unhealthy: its check failed 3 times in a row, and the last one ended "
        "with status 1"
    )


def test_who_looked_in_is_no_step_towards_the_end() -> None:
    """A thousand execs would hide the few steps that matter."""
    story = Story()
    story.tell(StartRequested(attempt=1))
    story.tell(Started(attempt=1, pid=5, start_time=6), ENGINE)
    story.tell(ExecRequested(exec_id="e1", exec=ExecSpec(argv=("ps",)), attempt=1))
    story.tell(ExecExited(exec_id="e1", code=0), ENGINE)
    story.tell(Attached(streams=("stdout",)))
    story.tell(Exited(attempt=1, code=0, ended=story.now), ENGINE)
    kinds = [step.record.event.stored_as for step in reason(story.records).chain]
    assert kinds == ["start-requested.v1", "started.v1", "exited.v1"]
