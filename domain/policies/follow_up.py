"""What is decided in the same breath as an outcome: after a failed start, no trace or another try."""

from domain.container import Container
from domain.lifecycle.exit import RestartScheduled
from domain.lifecycle.network import released
from domain.lifecycle.remove import RemoveRequested
from domain.lifecycle.start import StartFailed
from domain.messages import Event
from domain.policies.restart import next_delay


def follow_up(container: Container, event: Event, now: int) -> tuple[Event, ...]:
    """Events to append together with `event`; `container` is the fold including it, `now` in ns."""
    if not isinstance(event, StartFailed):
        return ()
    return (*released(container), *_after_failed_start(container, event, now))


def _after_failed_start(container: Container, event: StartFailed, now: int) -> tuple[Event, ...]:
    if container.settled.auto_remove:
        return (RemoveRequested(by="auto-remove"),)
    if not container.restarts:
        return ()
    delay = next_delay(container, event.exit_code, now)
    if delay is None:
        return ()
    return (RestartScheduled(attempt=container.attempt, delay=delay, count=container.restarts + 1),)
