"""Carry out a start: one call of the supervisor, which does it once per attempt however often it is asked."""

from domain.container import Container
from domain.errors import CommandFailed, KernelError, LadingError, Unavailable
from domain.failpoints import failpoint
from domain.lifecycle.start import Started, StartFailed, StartRequested
from domain.messages import Recorded
from workers.lifecycle.hands import Hands


async def start(container: Container, intent: Recorded, hands: Hands) -> Started | StartFailed:
    """Returns when the first process was executed, or when nothing of the attempt is left."""
    assert isinstance(intent.event, StartRequested)
    attempt = intent.event.attempt
    failpoint("start.before-act")
    try:
        await hands.volumes(container)
        layers = await hands.layers(container)
        entry = await hands.leases.enter(container, attempt, intent.position)
        process = await hands.runtime.start(
            container.id, attempt, entry.spec, (*entry.env, *container.env), layers, size=intent.event.size,
            place=entry.place, files=entry.files,
        )
    except Unavailable:
        raise
    except LadingError as error:
        return _failed(attempt, error)
    failpoint("start.after-act")
    return Started(
        attempt=attempt, pid=process.pid, start_time=process.start_time, cgroup=process.cgroup, boot=hands.boot
    )


def _failed(attempt: int, error: LadingError) -> StartFailed:
    failed = StartFailed(attempt=attempt, reason=error.message, hint=error.hint)
    if isinstance(error, CommandFailed):
        return failed.model_copy(update={"stage": "exec", "exit_code": error.exit_code})
    if isinstance(error, KernelError):
        return failed.model_copy(update={"stage": error.stage, "errno": error.errno})
    return failed
