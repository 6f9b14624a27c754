"""Whether a container gets a user namespace of its own: what it was asked for, what the engine is configured for."""

from domain.errors import InvalidValue
from domain.isolation import Isolation
from domain.runtime.request import HOST

REMAP = "remap"


def with_userns(wished: Isolation, default: str, *, network: str) -> Isolation:
    """The wishes with `default` (`host` or `remap`) where nothing was said. Raises: InvalidValue for an unknown mode,
    and where its root would have rights over what is the host's or another container's."""
    if wished.userns not in ("", HOST, REMAP):
        raise InvalidValue(f"--userns: invalid USER mode: {wished.userns!r}", hint="use host or remap")
    if (wished.userns or default) != REMAP:
        return wished
    shared = {"network": network, "pid": wished.pid, "ipc": wished.ipc, "uts": wished.uts}
    for name, mode in shared.items():
        if mode == HOST or mode.startswith("container:"):
            raise InvalidValue(f"cannot share the {name} namespace of {_whose(mode)} when user namespaces are enabled",
                               hint="add --userns host, or give it a namespace of its own")
    if wished.privileged:
        raise InvalidValue("privileged mode is incompatible with user namespaces", hint="add --userns host")
    return wished.model_copy(update={"userns": REMAP})


def _whose(mode: str) -> str:
    return "the host" if mode == HOST else "another container"
