"""What passes from step to step."""

from collections.abc import Callable, Mapping, Sequence

from domain.runtime import users


class Context:
    """What the child was born with: open `tasks` files, the status descriptor, and what to do when it is ready.

    Descriptors 0, 1 and 2 are in place and `status` is 3. `place` is where it comes from: the mount of the container's
    terminals or, for one more process, a pidfd of the first one. Without `ready` the child reads one byte from
    `status`: that is the word to go, an end of file the word to die. `user` is the user namespace that it
    has made, -1 without one. `host_mounts` is the mount namespace of the host, -1 if that is the one that the child was
    copied from. `report` and `top` are addresses, for a child that is to cross into a pid namespace (see `crossing`):
    where its report is, and where its highest page ends. `shared` are pidfds by the kind of namespace that is shared
    with the container behind them.
    """

    __slots__ = ("account", "binds", "host_mounts", "place", "ready", "report", "shared",
                 "status", "tasks", "top", "user")

    def __init__(self, *, tasks: Sequence[int] = (), status: int = 3, place: int = -1, host_mounts: int = -1,
                 ready: Callable[[], None] | None = None, report: int = 0, top: int = 0,
                 shared: Mapping[str, int] | None = None) -> None:
        self.tasks, self.status, self.place, self.ready = tasks, status, place, ready
        self.host_mounts = host_mounts
        self.report, self.top = report, top
        self.shared = shared or {}
        self.binds: dict[str, int] = {}
        self.user = -1
        self.account = users.Account(0, 0, (0,), "/")
