"""What passes from step to step."""

from collections.abc import Callable, Sequence

from domain.runtime import users


class Context:
    """What the child was born with: open `tasks` files, the status descriptor, and what to do when it is ready.

    Descriptors 0, 1 and 2 are in place and `status` is 3. Without `ready` the child reads one byte from `status`:
    that is the word to go, an end of file the word to die.
    """

    __slots__ = ("account", "binds", "ready", "status", "tasks")

    def __init__(self, *, tasks: Sequence[int] = (), status: int = 3, ready: Callable[[], None] | None = None) -> None:
        self.tasks, self.status, self.ready = tasks, status, ready
        self.binds: dict[str, int] = {}
        self.account = users.Account(0, 0, (0,), "/")
