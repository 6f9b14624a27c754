"""What a start needs to know, gathered by the daemon: plain values only, so that a plan can be made anywhere.

`argv`, `env` and paths are text in which bytes that are not UTF-8 travel as lone surrogates (`surrogateescape`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from domain.network.setup import Place
from domain.runtime import capabilities

MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/kmsg", "/proc/latency_stats",
    "/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/firmware",
    "/sys/devices/virtual/powercap", "/sys/devices/system/cpu/cpu*/thermal_throttle",
)
"""Files and directories of the kernel that tell about the host: hidden behind nothing. A `*` stands for numbers."""
READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
"""What would change the host when written."""
OWN_DEVICES = frozenset(f"/dev/{name}" for name in (
    "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "core", "ptmx", "console"))
"""What is in the /dev of every container, or is put there by its terminal."""
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HOST = "host"
"""The mode of a namespace that is the host's."""
CONTAINER = "container:"
"""Before the id of the container whose namespace is shared."""
UNCONFINED = "unconfined"
"""In place of a profile: none."""
INIT_TARGET = "/sbin/lading-init"
"""Where a container sees the little first process of `--init`."""


def lender(mode: str) -> str:
    """The container whose namespace is to be shared, as the mode names it; empty for any other mode."""
    return mode.removeprefix(CONTAINER) if mode.startswith(CONTAINER) else ""


def cannot_join(kind: str, id: str) -> str:
    """What is said when that container does not run; `kind` is `pid` or `ipc`."""
    return f"cannot join {kind.upper()} of a non running container: {id}"


@dataclass(frozen=True, slots=True)
class IdRange:
    """The ids 0 to `count` - 1 of a user namespace are those from `first` on of the host, users as well as groups."""

    first: int
    count: int

    def outside(self, id: int) -> int:
        """What the host calls an id of the container; root's for one that it does not have."""
        return self.first + (id if id < self.count else 0)


DEFAULT_IDS = IdRange(0x70000000, 65536)
"""Where nobody else has any: above what systemd gives to containers, and far above /etc/subuid of any distribution."""


PRIVATE, SLAVE, SHARED = "private", "slave", "shared"
"""Which mounts pass between the host and a directory of it inside: none, those of the host, or all."""


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A node inside that stands for a device of the host: `kind` is `b` or `c`, `access` some of `rwm`."""

    path: str
    kind: str
    major: int
    minor: int
    mode: int
    uid: int
    gid: int
    access: str


@dataclass(frozen=True, slots=True)
class HostMount:
    """A directory or file of the host at a place inside; see `PrepareMount`.

    `volume` is the directory of the engine's volume whose contents `source` is: with a user namespace of the
    container's own they keep the ids that it sees. `fill` lets an empty one begin with what the image has there,
    `first` says that this is the container's first start (see `PrepareFill`).
    """

    source: str
    target: str
    read_only: bool = False
    recursive: bool = True
    propagation: str = PRIVATE
    subpath: str = ""
    volume: str = ""
    fill: bool = False
    first: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """One run of one container.

    `layers` are directory names relative to `layer_root`, lowest first; at least one. `directory` is the container's
    own one on the host: the plan makes `upper`, `work` and `files/` in it, and the root file system is assembled on it
    in the child's view. `files` maps paths such as /etc/hosts to their content: they are bound into the container.
    `tmpfs` maps absolute paths to mount options. `init_program` is the host's file for `init`.
    `cgroup_v2` and `cgroup_v1` (`("cpu", "memory", "cpu,cpuacct")`: the names of the hierarchies that hold the
    container) come from `adapters.kernel.cgroups.Tree`. `settings` are the limits, as `MakeGroup` writes them.
    `machine` and `release` as uname(1) says them. `seccomp` is `unconfined`, a profile (JSON), or empty for the default
    one. `apparmor` names a profile that the host has loaded. `kernel_writable` leaves /sys and the control groups
    writable.
    `pid`, `ipc`, `uts` and `cgroupns` are empty for a namespace of its own, or `host`; `ipc` may be `none`, too:
    without /dev/shm. `pid` and `ipc` may be `container:<id>`: those of a container that runs.
    `stdin` and `tty` say what standard input is: a pipe, a terminal (which then is the output as well), or nothing.
    `groups` are names or numbers beside those of the user. `ulimits` are (name, number of setrlimit(2), soft, hard), -1
    for none; what is not named is inherited. `sysctls` maps paths below /proc/sys to values.
    With `remap` the container has a user namespace of its own; files on disk keep the ids that it sees.
    `device_rules` are allowed besides the default ones and those of `devices`: `c 10:229 rwm`.
    With a `place` that is the network, whatever `network` says.
    """

    id: str
    attempt: int
    argv: tuple[str, ...]
    env: tuple[str, ...]
    directory: str
    layer_root: str
    layers: tuple[str, ...]
    workdir: str = "/"
    user: str = ""
    hostname: str = ""
    network: Literal["none", "host"] = "none"
    place: Place | None = None
    read_only: bool = False
    tmpfs: Mapping[str, str] = field(default_factory=dict)
    init: bool = False
    init_program: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    cgroup_v2: bool = True
    cgroup_v1: tuple[str, ...] = ()
    capabilities: int = capabilities.DEFAULT
    seccomp: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    kernel_writable: bool = False
    pid: str = ""
    ipc: str = ""
    uts: str = ""
    cgroupns: str = ""
    machine: str = "x86_64"
    release: str = ""
    masked: tuple[str, ...] = MASKED
    read_only_paths: tuple[str, ...] = READ_ONLY
    umask: int = 0o022
    settings: tuple[str, ...] = ("pids.max 4096",)
    shm_size: int = 64 << 20
    stdin: bool = False
    tty: bool = False
    domainname: str = ""
    groups: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int, int], ...] = ()
    oom_score_adj: int = 0
    sysctls: Mapping[str, str] = field(default_factory=dict)
    devices: tuple[DeviceNode, ...] = ()
    device_rules: tuple[str, ...] = ()
    remap: IdRange | None = None
    mounts: tuple[HostMount, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecRequest:
    """One more process in a container that runs: what it has of its own, and the container's confinement.

    Fields are those of `RunRequest`; the confinement is what the container has, unless more is granted.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    workdir: str = "/"
    user: str = ""
    hostname: str = ""
    stdin: bool = False
    tty: bool = False
    cgroup_v1: tuple[str, ...] = ()
    capabilities: int = capabilities.DEFAULT
    seccomp: str = ""
    no_new_privileges: bool = False
    apparmor: str = ""
    machine: str = "x86_64"
    release: str = ""
    umask: int = 0o022
    groups: tuple[str, ...] = ()
    ulimits: tuple[tuple[str, int, int, int], ...] = ()
    oom_score_adj: int = 0
    remap: IdRange | None = None
