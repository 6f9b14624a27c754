"""Carry out an exec: one call of the supervisor, which does it once per exec id however often it is asked."""

from domain.container import Container
from domain.errors import CommandFailed, LadingError, Unavailable
from domain.failpoints import failpoint
from domain.lifecycle.exec import ExecFailed, ExecRequested, ExecStarted
from domain.messages import Recorded
from workers.blueprint import merged_env
from workers.lifecycle.hands import Hands


async def execute(container: Container, intent: Recorded, hands: Hands) -> ExecStarted | ExecFailed:
    """Returns when the command was executed, or when nothing of it is left."""
    event = intent.event
    assert isinstance(event, ExecRequested)
    failpoint("exec.before-act")
    unset = event.exec.env_unset
    env = merged_env(tuple(item for item in container.env if item.partition("=")[0] not in unset), event.env)
    try:
        process = await hands.runtime.exec(
            container.id, event.attempt, event.exec_id, event.exec, container.settled, env, size=event.size
        )
    except Unavailable:
        raise
    except LadingError as error:
        code = error.exit_code if isinstance(error, CommandFailed) else 125
        return ExecFailed(exec_id=event.exec_id, reason=error.message, exit_code=code)
    failpoint("exec.after-act")
    return ExecStarted(exec_id=event.exec_id, pid=process.pid, start_time=process.start_time)
