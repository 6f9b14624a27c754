"""The steps of a plan, as data: what the supervisor does on the host, and what the child does to itself.

On the wire a step is a JSON list: the class's name, then the fields in order.

    ["Node", "/dev/null", 438, 1, 3]

`adapters.kernel.apply` carries steps out and knows the same names; it reads the lists as they are, because the small
processes do not import this module. Paths of child steps after `PivotRoot` are the container's own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

Wire: TypeAlias = list[object]


@dataclass(frozen=True, slots=True)
class Step:
    """One piece of kernel work."""

    side: ClassVar[str] = "child"


@dataclass(frozen=True, slots=True)
class HostStep(Step):
    """Work of the supervisor, before the child exists."""

    side: ClassVar[str] = "host"


@dataclass(frozen=True, slots=True)
class MakeGroup(HostStep):
    """Make the control groups `id.attempt`. They are the fence: if they exist, this attempt was already acted on.

    `settings` are files of the groups with what is written into them, in order: `memory.max 67108864`.
    """

    id: str
    attempt: int
    settings: Sequence[str]


@dataclass(frozen=True, slots=True)
class AllowDevices(HostStep):
    """Device rules of this group alone: as version 1 takes them, and as a program for version 2 (hexadecimal)."""

    rules: Sequence[str]
    program: str


@dataclass(frozen=True, slots=True)
class MakeDirectory(HostStep):
    """Make one directory with exactly this mode; an existing one is left as it is."""

    path: str
    mode: int


@dataclass(frozen=True, slots=True)
class WriteFile(HostStep):
    """Write a small file in place: an existing one keeps its inode, a link is refused."""

    path: str
    content: str
    mode: int


@dataclass(frozen=True, slots=True)
class Opaque(Step):
    """Not dumpable: nobody in the namespaces to come may look into this process."""


@dataclass(frozen=True, slots=True)
class ResetProcess(Step):
    """The umask, default signal dispositions, ordinary scheduling, nice 0, `oom_score_adj`: nothing of the engine's."""

    umask: int
    oom_score_adj: int


@dataclass(frozen=True, slots=True)
class JoinGroups(Step):
    """Enter the version 1 groups by their open `tasks` files."""


@dataclass(frozen=True, slots=True)
class Unshare(Step):
    """New namespaces that must be made after the clone."""

    flags: int


@dataclass(frozen=True, slots=True)
class EnterNamespaces(Step):
    """Join namespaces of the container's first process; with its mounts come its root, and no host path is left. Into
    its pid namespace only children are born."""

    flags: int


@dataclass(frozen=True, slots=True)
class ShareNamespace(Step):
    """Join the namespace `kind` (`pid`, `ipc`) of the container that lends it; into the former only children are
    born."""

    kind: str


@dataclass(frozen=True, slots=True)
class PrepareLent(Step):
    """Take a detached copy of what is mounted at `path` of the container that lends its namespace `kind`, under the
    same name: /proc with `pid`, for only who is in a pid namespace can mount the processes of it; /dev/shm with
    `ipc`."""

    kind: str
    path: str


@dataclass(frozen=True, slots=True)
class UserNamespace(Step):
    """Make a user namespace whose ids from 0 on are those from `first` on of the host, or take the one to which `path`
    leads, as `inode` proves; and new namespaces `flags` that belong to it. Enter the latter, and make files as its root
    from now on, with all capabilities of the host's."""

    first: int
    count: int
    flags: int
    path: str = ""
    inode: int = 0


@dataclass(frozen=True, slots=True)
class MapIds(Step):
    """Show the files below `paths` with the ids of the user namespace: what is root's on disk is its root's."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class EnterUserNamespace(Step):
    """Become its root, whom the host knows as `first`, and whose the standard streams are from now on."""

    first: int


@dataclass(frozen=True, slots=True)
class EnterNetwork(Step):
    """Join a network namespace that waits: `path` leads to it on the host, `inode` proves that it is the one."""

    path: str
    inode: int


@dataclass(frozen=True, slots=True)
class LoopbackUp(Step):
    """Bring up `lo`."""


@dataclass(frozen=True, slots=True)
class PrepareBind(Step):
    """Take a detached copy of a host file, under `name`, while host paths still mean something."""

    name: str
    path: str
    read_only: bool


@dataclass(frozen=True, slots=True)
class PrepareMount(Step):
    """Take a detached copy of what lies at a path of the host, under `name`, while host paths still mean something.

    `below` is a path under it that is reached without any link. `recursive` takes along what is mounted below,
    read-only as well if this is. `propagation` is `private`, `slave` or `shared`. `mapped` shows the ids of the
    container's own user namespace.
    """

    name: str
    path: str
    below: str
    read_only: bool
    recursive: bool
    propagation: str
    mapped: bool


@dataclass(frozen=True, slots=True)
class PrepareFill(Step):
    """Find out whether `_data` in the directory `volume` is to be filled, and keep everybody else from it until it is:
    if it is empty at the `first` start of a container, or if somebody has begun and not ended. It is `name` later."""

    name: str
    volume: str
    first: bool
    mapped: bool


@dataclass(frozen=True, slots=True)
class FillVolume(Step):
    """Copy what the image has at `target` into the volume that was prepared as `name`, if it is to be filled."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class PrivateMounts(Step):
    """No mount event passes between this namespace and the host, in either direction."""


@dataclass(frozen=True, slots=True)
class OverlayRoot(Step):
    """Mount the root file system on `target`: `layers` are relative to `layer_root`, lowest first."""

    layer_root: str
    layers: Sequence[str]
    upper: str
    work: str
    target: str


@dataclass(frozen=True, slots=True)
class PivotRoot(Step):
    """Make `target` the root and detach everything of the host: from here on no host path can be named."""

    target: str


@dataclass(frozen=True, slots=True)
class MountAt(Step):
    """Mount a kernel file system on a directory that is made when missing and must not be reached through a link."""

    target: str
    fstype: str
    source: str
    flags: int
    data: str


@dataclass(frozen=True, slots=True)
class Node(Step):
    """A character device in our own /dev."""

    path: str
    mode: int
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class HostDevice(Step):
    """A node for a device of the host, wherever the user wants it; links of the image are followed inside only."""

    path: str
    block: bool
    major: int
    minor: int
    mode: int
    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Link(Step):
    """A symbolic link `path` in a file system of our own that leads to `target`."""

    target: str
    path: str


@dataclass(frozen=True, slots=True)
class Sysctl(Step):
    """Set a kernel parameter of the new namespaces: `net/ipv4/…`; where this kernel lacks it, that is no error unless
    it is `required`."""

    name: str
    value: str
    required: bool


@dataclass(frozen=True, slots=True)
class AttachTerminals(Step):
    """Put the container's own instance of devpts, which the supervisor has made, on `target`."""

    target: str


@dataclass(frozen=True, slots=True)
class BindConsole(Step):
    """A second name for the terminal on standard input."""

    target: str


@dataclass(frozen=True, slots=True)
class MountTmpfs(Step):
    """A tmpfs where the user wants one; links of the image are followed inside the root only.

    `keep_mode`: a directory that was there gives the tmpfs its mode.
    """

    target: str
    flags: int
    data: str
    keep_mode: bool


@dataclass(frozen=True, slots=True)
class AttachBind(Step):
    """Put the prepared file `name` on `target`; if that is a link, on the link itself."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class AttachDirectory(Step):
    """Put the prepared directory `name` on `target`, which must not be reached through a link."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class AttachMount(Step):
    """Put what was prepared as `name` on `target`, as the container's own links lead there; what is missing is made."""

    name: str
    target: str


@dataclass(frozen=True, slots=True)
class Mask(Step):
    """Hide kernel files behind our /dev/null and directories behind one empty tmpfs; missing ones are skipped.

    A `*` in a path stands for every number from 0 on.
    """

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class MakeReadOnly(Step):
    """Make kernel paths read-only; missing ones are skipped."""

    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class ReadOnlyMount(Step):
    """Make the mount at `path` (not those below it) read-only."""

    path: str


@dataclass(frozen=True, slots=True)
class SetHostname(Step):
    """Name the new uts namespace."""

    name: str


@dataclass(frozen=True, slots=True)
class SetDomainname(Step):
    """The domain of the new uts namespace."""

    name: str


@dataclass(frozen=True, slots=True)
class NewSession(Step):
    """A session of its own; with `terminal`, standard input is one and becomes the session's."""

    terminal: bool


@dataclass(frozen=True, slots=True)
class CloseDescriptors(Step):
    """Close everything above the status descriptor, for real; without `stdin`, standard input is the container's own
    null device."""

    stdin: bool


@dataclass(frozen=True, slots=True)
class NewKeyring(Step):
    """A session keyring of its own."""


@dataclass(frozen=True, slots=True)
class ResolveUser(Step):
    """Read the container's passwd and group, find `user` and the `groups` it gets besides, and give it the pipes or
    the terminal."""

    user: str
    groups: Sequence[str]


@dataclass(frozen=True, slots=True)
class MakeWorkdir(Step):
    """Make the working directory (root's, 0755) if it is missing, and enter it as root."""

    path: str


@dataclass(frozen=True, slots=True)
class EnterWorkdir(Step):
    """Enter a working directory that must be there, as root."""

    path: str


@dataclass(frozen=True, slots=True)
class SetLimits(Step):
    """Limits of setrlimit(2): name, number, soft, hard; -1 is none."""

    limits: Sequence[tuple[str, int, int, int]]


@dataclass(frozen=True, slots=True)
class ChangeProfile(Step):
    """Be confined by an AppArmor profile of the host from the exec on."""

    profile: str


@dataclass(frozen=True, slots=True)
class NoNewPrivileges(Step):
    """No program gives its user more rights than he has: neither set-user-ID nor capabilities of files count."""


@dataclass(frozen=True, slots=True)
class LoadSeccomp(Step):
    """Load the filter: hexadecimal classic BPF."""

    program: str


@dataclass(frozen=True, slots=True)
class BecomeUser(Step):
    """Groups, ids and capabilities: `capabilities` for root, none but the bounding set for anybody else."""

    capabilities: int


@dataclass(frozen=True, slots=True)
class ChangeDirectory(Step):
    """Enter the working directory again as the user, who may lack the right to; make sure that it lies inside."""

    path: str


@dataclass(frozen=True, slots=True)
class WaitForGo(Step):
    """Nothing of the image runs before the supervisor says so."""


@dataclass(frozen=True, slots=True)
class Execute(Step):
    """Become the program: `argv[0]` is looked up in the PATH of `env`; with `init`, that runs it as its child."""

    argv: Sequence[str]
    env: Sequence[str]
    init: str


@dataclass(frozen=True, slots=True)
class Cross(Step):
    """Let a child be born in the pid namespace that was entered for children, and become the program, with a session of
    its own; with `terminal`, standard input is one and becomes the session's. Else as `Execute`."""

    argv: Sequence[str]
    env: Sequence[str]
    init: str
    terminal: bool


STEPS: dict[str, type[Step]] = {kind.__name__: kind for kind in (
    MakeGroup, MakeDirectory, WriteFile, Opaque, ResetProcess, JoinGroups, Unshare, EnterNamespaces, EnterNetwork,
    LoopbackUp, PrepareBind, PrepareMount, AttachMount, PrepareFill, FillVolume,
    PrivateMounts, OverlayRoot, PivotRoot, MountAt, Node, Link, Sysctl, AttachTerminals, BindConsole,
    MountTmpfs, AttachBind, Mask, MakeReadOnly, ReadOnlyMount, SetHostname, SetDomainname, NewSession, CloseDescriptors,
    NewKeyring, ResolveUser, MakeWorkdir, EnterWorkdir, SetLimits, LoadSeccomp, BecomeUser, ChangeDirectory,
    WaitForGo, Execute, NoNewPrivileges, AllowDevices, HostDevice, ChangeProfile,
    AttachDirectory, UserNamespace, MapIds, EnterUserNamespace, Cross,
    ShareNamespace, PrepareLent,
)}
"""Every step by its name on the wire."""


_FIELDS: dict[type[Step], tuple[str, ...]] = {kind: tuple(f.name for f in fields(kind)) for kind in STEPS.values()}


def to_wire(steps: Iterable[Step]) -> list[Wire]:
    """The steps as JSON lists."""
    return [[type(step).__name__, *(_plain(getattr(step, name)) for name in _FIELDS[type(step)])] for step in steps]


def from_wire(wire: Iterable[Wire]) -> tuple[Step, ...]:
    """The inverse of `to_wire`. Raises: KeyError, TypeError for what is no step."""
    return tuple(STEPS[str(name)](*(_frozen(value) for value in values)) for name, *values in wire)


def _plain(value: object) -> object:
    if isinstance(value, str | int):  # nearly all: asking for Mapping first takes as long as everything else together
        return value
    if isinstance(value, Mapping):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _frozen(value: object) -> object:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value
