"""How far a container is kept apart from the host: what it may do more, or less, than others."""

from pydantic import BaseModel, ConfigDict

from domain.errors import InvalidValue
from domain.runtime import capabilities, profile
from domain.runtime.request import HOST, UNCONFINED, lender

_LONGEST_PROFILE = 1024
_MODES = {"pid": (HOST,), "ipc": ("none", "private", "shareable", HOST), "uts": (HOST,), "cgroupns": (HOST, "private")}
LENT = ("pid", "ipc")
"""Namespaces that one container can share with another."""
_WORDS = {"pid": "PID", "ipc": "IPC", "uts": "UTS", "cgroupns": "CGROUP"}


class Isolation(BaseModel):
    """What differs from the default confinement; all defaults are the default confinement.

    Capabilities are written `CAP_NET_ADMIN`, or `ALL`; `cap_drop` counts before `cap_add`. `seccomp` is empty for the
    default filter, `unconfined`, or the text of a profile (JSON). `apparmor` is the name of a profile, empty for what
    the host has. `open_paths` leaves the paths of the kernel unmasked and writable. The modes are empty for a namespace
    of its own, `host`, or `container:<id>`; `ipc` also knows `none`, `private` and `shareable`. `userns` is empty for
    what the engine is configured for, `host`, or `remap`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    privileged: bool = False
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    open_paths: bool = False
    group_add: tuple[str, ...] = ()
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    userns: str = ""


def checked_isolation(wished: Isolation, *, apparmor: bool) -> Isolation:
    """The same with one spelling for everything; `apparmor` says whether the host has that. Raises InvalidValue, naming
    what cannot be meant or is not there."""
    _check_modes(wished)
    _check_profile(wished.apparmor, there=apparmor)
    if wished.seccomp not in ("", UNCONFINED):
        profile.parse(wished.seccomp)
    return wished.model_copy(update={
        "apparmor": wished.apparmor if apparmor else "",
        "cap_add": _spelled(wished.cap_add), "cap_drop": _spelled(wished.cap_drop),
    })


def lends_ipc(owner: Isolation) -> bool:
    """Whether others may join the ipc namespace of a container with this isolation: only if it was made to be shared,
    or is shared already."""
    return owner.ipc in ("shareable", HOST) or bool(lender(owner.ipc))


def _check_profile(name: str, *, there: bool) -> None:
    if len(name) > _LONGEST_PROFILE or any(character <= " " or character == "\x7f" for character in name):
        raise InvalidValue(f"invalid AppArmor profile: {name!a}")
    if name not in ("", UNCONFINED) and not there:
        raise InvalidValue(f"AppArmor profile {name!a}: this host has no AppArmor",
                           hint="its kernel is built without it, or it is switched off")


def _spelled(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(capabilities.spelled, names)))


def _check_modes(wished: Isolation) -> None:
    """Namespaces are a container's own, the host's, or some of them another container's."""
    for name, known in _MODES.items():
        mode = getattr(wished, name)
        others = ("container:NAME",) if name in LENT else ()
        if mode not in ("", *known) and not (others and lender(mode)):
            raise InvalidValue(f"--{name}: invalid {_WORDS[name]} mode: {mode!a}",
                               hint=f"use {' or '.join((*known, *others))}")
