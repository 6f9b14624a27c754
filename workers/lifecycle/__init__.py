"""The table of acts: which function carries out which intent."""

from collections.abc import Awaitable, Callable, Mapping

from domain.container import Container
from domain.messages import Event, Recorded
from workers.lifecycle import commit, connect, exec, kill, pause, remove, start, stop, unpause, update
from workers.lifecycle.hands import Hands
from workers.wire import Outcome

Act = Callable[[Container, Recorded, Hands], Awaitable[Event | Outcome | None]]

ACTS: Mapping[str, Act] = {
    "start-requested.v1": start.start,
    "stop-requested.v1": stop.stop,
    "kill-requested.v1": kill.kill,
    "pause-requested.v1": pause.pause,
    "unpause-requested.v1": unpause.unpause,
    "commit-requested.v1": commit.commit,
    "exec-requested.v1": exec.execute,
    "limits-requested.v1": update.update,
    "remove-requested.v1": remove.remove,
    "connect-requested.v1": connect.connect,
    "disconnect-requested.v1": connect.disconnect,
}
