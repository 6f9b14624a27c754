"""How far a container is kept apart from the host: what it may do more, or less, than others."""

from pydantic import BaseModel, ConfigDict


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
