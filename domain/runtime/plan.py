"""From a request to the ordered steps that start a container. Pure: nothing is looked up, nothing is done.

    plan(request).wire() == {"flags": 1811939328, "host": [["MakeGroup", …], …], "child": [["Opaque"], …]}
    exec_plan(request).wire() == {"flags": 0, "host": [], "child": [["Opaque"], …]}

`flags` are the namespaces that the child is born into, `host` is carried out by the supervisor before that, `child` by
the child itself. The order is the point: groups, then the cgroup namespace rooted in them; host files are taken while
host paths mean something; then pivot, and from there on the image is all there is; kernel file systems and their masks;
descriptors closed before any path of the image is used; the filter while it may still be loaded; ids and capabilities;
the working directory as the user; and nothing of the image runs before the word to go. One more process in a container
that runs goes the same way, but for the root: it enters what is there. Whoever becomes one of several in a pid
namespace is born into it last of all, from outside, for those who are in there might have the right to rule it.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from domain.errors import InvalidValue
from domain.runtime import devices, profile, seccomp, tmpfs
from domain.runtime.request import (
    DEFAULT_PATH,
    HOST,
    INIT_TARGET,
    UNCONFINED,
    DeviceNode,
    ExecRequest,
    HostMount,
    IdRange,
    RunRequest,
    lender,
)
from domain.runtime.steps import (
    AllowDevices,
    AttachBind,
    AttachDirectory,
    AttachMount,
    AttachTerminals,
    BecomeUser,
    BindConsole,
    ChangeDirectory,
    ChangeProfile,
    CloseDescriptors,
    Cross,
    EnterNamespaces,
    EnterNetwork,
    EnterUserNamespace,
    EnterWorkdir,
    Execute,
    FillVolume,
    HostDevice,
    HostStep,
    JoinGroups,
    Link,
    LoadSeccomp,
    LoopbackUp,
    MakeDirectory,
    MakeGroup,
    MakeReadOnly,
    MakeWorkdir,
    MapIds,
    Mask,
    MountAt,
    MountTmpfs,
    NewKeyring,
    NewSession,
    Node,
    NoNewPrivileges,
    Opaque,
    OverlayRoot,
    PivotRoot,
    PrepareBind,
    PrepareFill,
    PrepareLent,
    PrepareMount,
    PrivateMounts,
    ReadOnlyMount,
    ResetProcess,
    ResolveUser,
    SetDomainname,
    SetHostname,
    SetLimits,
    ShareNamespace,
    Step,
    Sysctl,
    Unshare,
    UserNamespace,
    WaitForGo,
    WriteFile,
    from_wire,
    to_wire,
)

__all__ = ["Plan", "environment", "exec_plan", "from_wire", "plan", "to_wire"]

NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x20000000, 0x40000000
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _STRICTATIME = 1, 2, 4, 8, 1 << 24
_QUIET = _NOSUID | _NODEV | _NOEXEC
_SHARED_MEMORY = "/dev/shm"
_LONGEST_HOSTNAME = 64

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0))
_LINKS = (("/proc/self/fd", "fd"), ("/proc/self/fd/0", "stdin"), ("/proc/self/fd/1", "stdout"),
          ("/proc/self/fd/2", "stderr"), ("/proc/kcore", "core"), ("pts/ptmx", "ptmx"))
_NETWORK_SYSCTLS = (("net/ipv4/ping_group_range", "0 2147483647"), ("net/ipv4/ip_unprivileged_port_start", "0"))


@dataclass(frozen=True, slots=True)
class Plan:
    """All kernel work of one start."""

    flags: int
    host: tuple[HostStep, ...]
    child: tuple[Step, ...]

    def wire(self) -> dict[str, object]:
        """The plan as a JSON document."""
        return {"flags": self.flags, "host": to_wire(self.host), "child": to_wire(self.child)}


def plan(request: RunRequest) -> Plan:
    """Compile the steps. Raises: InvalidValue for what no container can be started with."""
    _check(request)
    flags = _namespaces(request)
    born = flags & (NEWNS | NEWPID) if request.remap else flags
    return Plan(born, tuple(_host(request)), tuple(_child(request)))


def exec_plan(request: ExecRequest) -> Plan:
    """Compile the steps of one more process. Raises: InvalidValue."""
    _check_command(request)
    return Plan(0, (), tuple(_more(request)))


def environment(env: tuple[str, ...], hostname: str, *, tty: bool = False) -> tuple[str, ...]:
    """PATH, HOSTNAME and, with a terminal, TERM first, then the others in order; the last of several with one name
    wins, at the first's place.

    HOME is not here: it comes from the container's passwd, in the child.
    """
    values = {"PATH": DEFAULT_PATH, "HOSTNAME": hostname} | ({"TERM": "xterm"} if tty else {})
    values.update(entry.partition("=")[::2] for entry in env)
    return tuple(f"{name}={value}" for name, value in values.items())


def _namespaces(request: RunRequest) -> int:
    network = HOST if request.place is not None else request.network  # a place is there already
    shared = (network, NEWNET), (request.uts, NEWUTS), (request.ipc, NEWIPC), (request.pid, NEWPID)
    return NEWNS | sum(flag for mode, flag in shared if mode != HOST and not lender(mode))


def _check(request: RunRequest) -> None:
    _check_command(request)
    if not request.layers:
        raise InvalidValue("the image has no layers")
    if any("\0" in layer for layer in request.layers):
        raise InvalidValue("a value holds a NUL byte")
    _check_name("hostname", request.hostname)
    _check_name("domainname", request.domainname)
    if any(":" in layer or "\\" in layer or "," in layer or layer.startswith("/") for layer in request.layers):
        raise InvalidValue("a layer has a name that an overlay cannot spell")


def _check_name(what: str, name: str) -> None:
    if len(name.encode("utf-8", "surrogateescape")) > _LONGEST_HOSTNAME or any(
            character < "!" or character == "\x7f" for character in name):
        raise InvalidValue(f"invalid {what} {name!r}", hint="at most 64 bytes, no blanks")


def _check_command(request: RunRequest | ExecRequest) -> None:
    if not request.argv or not request.argv[0]:
        raise InvalidValue("no command specified")
    texts = (*request.argv, *request.env, request.workdir, request.user, request.hostname, *request.groups)
    if any("\0" in text for text in texts):
        raise InvalidValue("a value holds a NUL byte")
    if any(entry.startswith("=") or "=" not in entry for entry in request.env):
        raise InvalidValue("an environment variable has no name or no value")
    if not request.workdir.startswith("/"):
        raise InvalidValue(f"the working directory {request.workdir!r} is invalid, it needs to be an absolute path")


def _host(request: RunRequest) -> Iterator[HostStep]:
    """The fence comes first: whoever finds it there must touch nothing else."""
    yield MakeGroup(request.id, request.attempt, request.settings)
    yield from _device_rules(request)
    yield MakeDirectory(request.directory, 0o700)
    yield MakeDirectory(f"{request.directory}/upper", 0o755)  # becomes the container's `/`
    yield MakeDirectory(f"{request.directory}/work", 0o700)
    yield MakeDirectory(f"{request.directory}/files", 0o700)
    for path, content in request.files.items():
        yield WriteFile(_host_file(request, path), content, 0o644)


def _device_rules(request: RunRequest) -> Iterator[HostStep]:
    """Only if there are more than all containers have, by their common parent."""
    own = (*(f"{node.kind} {node.major}:{node.minor} {node.access}" for node in request.devices), *request.device_rules)
    if own:
        rules = devices.expanded((*devices.DEFAULT, *own))
        yield AllowDevices(rules, devices.ebpf(rules).hex())


def _host_file(request: RunRequest, path: str) -> str:
    return f"{request.directory}/files/{path.strip('/').replace('/', '_')}"


def _child(request: RunRequest) -> Iterator[Step]:
    yield from _enter(request)
    yield from _root(request)
    yield from _kernel_views(request)
    yield from _devices(request)
    yield from _user_mounts(request)
    yield from (_host_device(request.remap, node) for node in request.devices)
    if request.masked:
        yield Mask(request.masked)
    if request.read_only_paths:
        yield MakeReadOnly(request.read_only_paths)
    if request.read_only:
        yield ReadOnlyMount("/")
    yield from _identity(request)
    yield from _launch(request, INIT_TARGET if request.init else "", crosses=bool(lender(request.pid)))


def _enter(request: RunRequest) -> Iterator[Step]:
    yield Opaque()
    yield ResetProcess(request.umask, request.oom_score_adj)  # before the groups: a cpu group refuses real-time tasks
    if request.apparmor:
        yield ChangeProfile(request.apparmor)
    if request.cgroup_v1:
        yield JoinGroups()
    if request.cgroupns != HOST:
        yield Unshare(NEWCGROUP)  # now: its root is where its maker sits
    yield from (ShareNamespace(kind) for kind in ("pid", "ipc") if lender(getattr(request, kind)))
    if request.remap:  # what is not born with the child belongs to it: its root has rights there
        owner = (request.place.user_path, request.place.user_inode) if request.place is not None else ("", 0)
        flags = _namespaces(request) & ~(NEWNS | NEWPID)
        yield UserNamespace(request.remap.first, request.remap.count, flags, *owner)
    if request.place is not None:  # while the host's /proc is there; sysfs shows the network of whoever mounts it
        yield EnterNetwork(request.place.path, request.place.inode)
    elif request.network == "none":
        yield LoopbackUp()


def _root(request: RunRequest) -> Iterator[Step]:
    for mount in _filled(request):
        yield PrepareFill(mount.target, mount.volume, mount.first, request.remap is not None)
    for mount in request.mounts:  # before: whoever goes on to hear of the host's mounts must have heard of them
        yield PrepareMount(mount.target, mount.source, mount.subpath, mount.read_only, mount.recursive,
                           mount.propagation, bool(mount.volume) and request.remap is not None)
    yield PrivateMounts()  # before the copies: they inherit it
    if request.remap:
        yield MapIds((request.layer_root.rpartition("/")[0], request.directory))
    for path in _own_files(request):
        yield PrepareBind(path, _host_file(request, path), read_only=False)
    if request.ipc == HOST:
        yield PrepareBind(_SHARED_MEMORY, _SHARED_MEMORY, read_only=False)
    if lender(request.ipc):
        yield PrepareLent("ipc", _SHARED_MEMORY)
    if lender(request.pid):
        yield PrepareLent("pid", "/proc")
    if request.init:
        yield PrepareBind(INIT_TARGET, request.init_program, read_only=True)
    yield OverlayRoot(request.layer_root, request.layers, f"{request.directory}/upper", f"{request.directory}/work",
                      request.directory)
    yield PivotRoot(request.directory)


def _kernel_views(request: RunRequest) -> Iterator[Step]:
    if lender(request.pid):
        yield AttachDirectory("/proc", "/proc")
    else:
        yield MountAt("/proc", "proc", "proc", _QUIET, "")
    if request.network == "none" or request.place is not None:
        yield from (Sysctl(name, value, required=False) for name, value in _NETWORK_SYSCTLS)
    yield from (Sysctl(name, value, required=True) for name, value in request.sysctls.items())
    yield MountAt("/sys", "sysfs", "sysfs", _kernel_flags(request), "")
    yield from _cgroup_views(request)


def _cgroup_views(request: RunRequest) -> Iterator[Step]:
    """Version 2 is one mount; version 1 a tmpfs with a mount for each hierarchy, as language runtimes expect."""
    root, flags = "/sys/fs/cgroup", _kernel_flags(request)
    if request.cgroup_v2 and not request.cgroup_v1:
        yield MountAt(root, "cgroup2", "cgroup", flags, "")
    if not request.cgroup_v1:
        return
    yield MountAt(root, "tmpfs", "tmpfs", _QUIET, "mode=755,size=64k")
    for controllers in request.cgroup_v1:
        yield MountAt(f"{root}/{controllers}", "cgroup", "cgroup", flags, controllers)
        if "," in controllers:
            yield from (Link(controllers, f"{root}/{name}") for name in controllers.split(","))
    if request.cgroup_v2:
        yield MountAt(f"{root}/unified", "cgroup2", "cgroup", flags, "")
    if not request.kernel_writable:
        yield ReadOnlyMount(root)


def _kernel_flags(request: RunRequest) -> int:
    return _QUIET if request.kernel_writable else _QUIET | _RDONLY


def _devices(request: RunRequest) -> Iterator[Step]:
    yield MountAt("/dev", "tmpfs", "tmpfs", _NOSUID | _STRICTATIME, "mode=755,size=65536k")
    yield from (Node(f"/dev/{name}", 0o666, major, minor) for name, major, minor in _DEVICES)
    yield from (Link(target, f"/dev/{name}") for target, name in _LINKS)
    yield AttachTerminals("/dev/pts")
    if request.tty:
        yield BindConsole("/dev/console")


def _host_device(ids: IdRange | None, node: DeviceNode) -> HostDevice:
    owners = (node.uid, node.gid)
    uid, gid = map(ids.outside, owners) if ids else owners
    return HostDevice(node.path, node.kind == "b", node.major, node.minor, node.mode, uid, gid)


def _user_mounts(request: RunRequest) -> Iterator[Step]:
    wanted = sorted((tmpfs.target(path), text) for path, text in request.tmpfs.items())
    yield MountAt("/dev/mqueue", "mqueue", "mqueue", _QUIET, "")
    if request.ipc == HOST or lender(request.ipc):
        yield AttachDirectory(_SHARED_MEMORY, _SHARED_MEMORY)
    elif request.ipc != "none":
        yield MountAt(_SHARED_MEMORY, "tmpfs", "shm", _QUIET, f"mode=1777,size={request.shm_size}")
    yield from (FillVolume(mount.target, mount.target) for mount in _filled(request))  # while only the image is there
    memory = {path: MountTmpfs(path, *_tmpfs(text, request.remap)) for path, text in wanted}
    hosts = {mount.target: AttachMount(mount.target, mount.target) for mount in request.mounts}
    yield from (step for _, step in sorted({**memory, **hosts}.items()))  # parents first
    yield from (AttachBind(path, path) for path in _own_files(request))
    if request.init:
        yield AttachBind(INIT_TARGET, INIT_TARGET)


def _filled(request: RunRequest) -> list[HostMount]:
    """Each volume once, in one order for all containers: who waits for one holds none that comes later."""
    found: dict[str, HostMount] = {}
    for mount in request.mounts:
        if mount.fill:
            found.setdefault(mount.volume, mount)
    return [found[volume] for volume in sorted(found)]


def _mapped(ids: IdRange | None, data: str) -> str:
    """Options of a mount are read in the host's user namespace."""
    if ids is None:
        return data
    words = (word.partition("=") for word in data.split(",") if word)
    return ",".join(f"{key}={ids.outside(int(value))}" if key in ("uid", "gid") else f"{key}{equals}{value}"
                    for key, equals, value in words)


def _tmpfs(text: str, ids: IdRange | None) -> tuple[int, str, bool]:
    flags, data, mode_given = tmpfs.options(text)
    return flags, _mapped(ids, data), not mode_given


def _own_files(request: RunRequest) -> Iterator[str]:
    """The files of the engine, but for those in whose place somebody has put his own."""
    taken = {mount.target for mount in request.mounts}
    return (path for path in request.files if path not in taken)


def _identity(request: RunRequest) -> Iterator[Step]:
    if request.hostname and request.uts != HOST:
        yield SetHostname(request.hostname)
    if request.domainname and request.uts != HOST:
        yield SetDomainname(request.domainname)
    yield from _apart(request, crosses=bool(lender(request.pid)))
    yield ResolveUser(request.user, request.groups)
    yield MakeWorkdir(request.workdir)


def _apart(request: RunRequest | ExecRequest, *, crosses: bool = False) -> Iterator[Step]:
    """Leave what the engine has lent. Raising a limit needs CAP_SYS_RESOURCE on the host, so that comes first. Who
    crosses has no use for a terminal: it becomes that of his child."""
    yield NewSession(request.tty and not crosses)
    if request.ulimits:
        yield SetLimits(request.ulimits)
    if request.remap:
        yield EnterUserNamespace(request.remap.first)
    yield CloseDescriptors(request.tty or request.stdin)
    yield NewKeyring()


def _launch(request: RunRequest | ExecRequest, init: str = "", *, crosses: bool = False) -> Iterator[Step]:
    if not request.no_new_privileges:  # loading a filter needs CAP_SYS_ADMIN then: now or never
        yield from _filter(request)
    yield BecomeUser(request.capabilities)
    yield ChangeDirectory(request.workdir)
    if request.no_new_privileges:
        yield NoNewPrivileges()
        yield from _filter(request)
    yield WaitForGo()
    env = environment(request.env, request.hostname, tty=request.tty)
    if crosses:
        yield Cross(request.argv, env, init, request.tty)
    else:
        yield Execute(request.argv, env, init)


def _filter(request: RunRequest | ExecRequest) -> Iterator[Step]:
    if not request.seccomp:
        yield LoadSeccomp(seccomp.default_program(request.machine, request.capabilities).hex())
    elif request.seccomp != UNCONFINED:
        program = profile.program(request.seccomp, request.machine, request.capabilities, request.release)
        yield LoadSeccomp(program.hex())


def _more(request: ExecRequest) -> Iterator[Step]:
    yield Opaque()
    yield ResetProcess(request.umask, request.oom_score_adj)
    if request.cgroup_v1:
        yield JoinGroups()
    if request.apparmor:
        yield ChangeProfile(request.apparmor)
    yield EnterNamespaces(NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWNET | NEWPID)
    yield from _apart(request, crosses=True)
    yield ResolveUser(request.user, request.groups)
    yield EnterWorkdir(request.workdir)
    yield from _launch(request, crosses=True)
