"""From what the engine knows of a container to what `domain.runtime.plan` asks: paths, numbers and this machine's kind.

Everything that needs the host's view is looked up here, before the child exists.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from adapters.kernel import mountinfo
from adapters.kernel.cgroups import Tree
from adapters.kernel.cgroups.disks import heed_weights
from adapters.kernel.nodes import nodes
from domain.errors import InvalidValue
from domain.limits import BlockDevice, BlockDevices, lines, settings
from domain.mounts import Mount
from domain.network.files import HOST_GATEWAY, resolv_file
from domain.resources import DeviceRate, Resources
from domain.runtime import capabilities
from domain.runtime.control import Control
from domain.runtime.request import (
    DEFAULT_IDS,
    MASKED,
    OWN_DEVICES,
    PRIVATE,
    READ_ONLY,
    SHARED,
    UNCONFINED,
    DeviceNode,
    ExecRequest,
    HostMount,
    IdRange,
    RunRequest,
)
from domain.spec import ContainerSpec, Device, ExecSpec
from domain.sysctls import sysctl_steps
from domain.ulimits import NUMBERS
from domain.volumes.names import CONTENTS, volume_name

_ALL_DEVICES, _ANY_DEVICE = Device(source="/dev", target="/dev"), ("a *:* rwm",)
_SELINUX = "/sys/fs/selinux/enforce"
_HEXADECIMAL = frozenset("0123456789abcdef")
_LOCAL = "127.0.0.1"
_HOSTS = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n"


class Requests:
    """Builds requests for the containers below `containers`; contents of volumes lie below `volumes`; `groups` are
    those of this host, `ids` those of remapped user namespaces."""

    def __init__(self, containers: Path, layer_root: Path, volumes: Path, groups: Tree, *, init_program: str = "",
                 ids: IdRange = DEFAULT_IDS) -> None:
        self._containers = containers
        self._volumes = volumes
        self._layer_root = layer_root
        self._groups = groups
        self._control: Control | None = None
        self._init_program = init_program
        self._ids = ids

    def run(self, id: str, attempt: int, spec: ContainerSpec, env: Sequence[str], layers: Sequence[str]) -> RunRequest:
        """For the first process. Raises: InvalidValue; CommandFailed for a device that is not there."""
        if spec.init and not self._init_program:
            raise InvalidValue("this installation has no program for --init")
        return RunRequest(
            id=id, attempt=attempt, argv=spec.argv, env=tuple(env), directory=str(self._containers / id),
            layer_root=str(self._layer_root), layers=tuple(layers), workdir=spec.workdir, user=spec.user,
            hostname=spec.hostname, network=spec.network, read_only=spec.read_only, tmpfs=_memory(spec), init=spec.init,
            init_program=self._init_program, files=_files(spec), cgroup_v2=self._groups.v2, cgroup_v1=self._groups.v1,
            stdin=spec.stdin, tty=spec.tty, domainname=spec.domainname, groups=spec.confinement.group_add,
            ulimits=_ulimits(spec), oom_score_adj=spec.oom_score_adj, shm_size=spec.shm_size,
            sysctls=sysctl_steps(spec.sysctls, network=spec.network, ipc=spec.confinement.ipc),
            devices=tuple(_devices(spec)), device_rules=_device_rules(spec),
            machine=os.uname().machine, release=os.uname().release, capabilities=_capabilities(spec),
            seccomp=_seccomp(spec), no_new_privileges=spec.confinement.no_new_privileges,
            apparmor=spec.confinement.apparmor, kernel_writable=spec.confinement.privileged,
            pid=spec.confinement.pid, ipc=spec.confinement.ipc, uts=spec.confinement.uts,
            cgroupns=spec.confinement.cgroupns,
            masked=() if _paths_are_open(spec) else MASKED,
            read_only_paths=() if _paths_are_open(spec) else READ_ONLY,
            mounts=tuple(self._host_mount(mount, first=attempt == 1) for mount in _shared(spec)),
            settings=lines(settings(spec.limits, self.control(), _block_devices(spec.limits))),
            remap=self._remap(spec))

    def control(self) -> Control:
        """What groups can limit here; looked at again until the supervisor has made ours."""
        if self._control is None or not self._control.files:
            self._control = self._groups.control()
        return self._control

    def weighed(self) -> Control:
        """The same, with a look at the disks: their schedulers are changed while a host runs."""
        return replace(self.control(), weighing=heed_weights(self._groups.unified))

    def exec(self, exec: ExecSpec, spec: ContainerSpec, env: Sequence[str]) -> ExecRequest:
        """For one more process in the container that `spec` describes."""
        return ExecRequest(
            argv=exec.argv, env=tuple(env), workdir=exec.workdir or spec.workdir, user=exec.user or spec.user,
            hostname=spec.hostname, stdin=exec.stdin, tty=exec.tty, cgroup_v1=self._groups.v1,
            machine=os.uname().machine, release=os.uname().release,
            capabilities=capabilities.ALL if exec.privileged else _capabilities(spec),
            seccomp=UNCONFINED if exec.privileged else _seccomp(spec),
            no_new_privileges=spec.confinement.no_new_privileges,
            apparmor="" if exec.privileged else spec.confinement.apparmor, groups=spec.confinement.group_add,
            ulimits=_ulimits(spec), oom_score_adj=spec.oom_score_adj, remap=self._remap(spec))

    def _host_mount(self, mount: Mount, *, first: bool) -> HostMount:
        """Raises: InvalidValue for a source that cannot be made or shared, or a label that this host would have to give
        it."""
        if mount.type == "bind":
            return _bind(mount)
        volume = str(self._volumes / volume_name(mount.source))
        return HostMount(f"{volume}/{CONTENTS}", mount.target, mount.read_only, subpath=mount.subpath, volume=volume,
                         fill=mount.copy_image and not mount.subpath, first=first)

    def _remap(self, spec: ContainerSpec) -> IdRange | None:
        return self._ids if spec.confinement.userns == "remap" else None


def _devices(spec: ContainerSpec) -> Iterator[DeviceNode]:
    """All of the host's for a privileged one, but for names that its own /dev has. Raises CommandFailed."""
    if spec.confinement.privileged:
        yield from (node for node in nodes(_ALL_DEVICES) if node.path not in OWN_DEVICES)
    for device in spec.devices:
        yield from nodes(device)


def _device_rules(spec: ContainerSpec) -> tuple[str, ...]:
    return (*(_ANY_DEVICE if spec.confinement.privileged else ()), *spec.device_rules)


def _capabilities(spec: ContainerSpec) -> int:
    wished = spec.confinement
    return capabilities.effective(spec.network, add=wished.cap_add, drop=wished.cap_drop, privileged=wished.privileged)


def _paths_are_open(spec: ContainerSpec) -> bool:
    return spec.confinement.privileged or spec.confinement.open_paths


def _seccomp(spec: ContainerSpec) -> str:
    return spec.confinement.seccomp or (UNCONFINED if spec.confinement.privileged else "")


def is_id(name: str) -> bool:
    """Whether `name` can be the id of a container or an exec."""
    return bool(name) and _HEXADECIMAL.issuperset(name)


def checked(id: str) -> str:
    """Ids become parts of paths. Raises InvalidValue."""
    if not is_id(id):
        raise InvalidValue("a container id is hexadecimal")
    return id


def _ulimits(spec: ContainerSpec) -> tuple[tuple[str, int, int, int], ...]:
    return tuple((limit.name, NUMBERS[limit.name], limit.soft, limit.hard) for limit in spec.ulimits)


def missing(mounts: Sequence[Mount]) -> str:
    """The first source that is not there and must be; empty if none is."""
    return next((mount.source for mount in mounts
                 if mount.type == "bind" and not mount.create and not os.path.exists(mount.source)), "")


def _shared(spec: ContainerSpec) -> list[Mount]:
    """What others see as well."""
    return [mount for mount in spec.mounts if mount.type != "tmpfs"]


def _memory(spec: ContainerSpec) -> dict[str, str]:
    return {**spec.tmpfs, **{mount.target: mount.options for mount in spec.mounts if mount.type == "tmpfs"}}


def _bind(mount: Mount) -> HostMount:
    if mount.relabel and os.path.exists(_SELINUX):
        raise InvalidValue(f"{mount.source} cannot be relabelled: there is no support for SELinux yet",
                           hint="leave z and Z out, and label it with chcon")
    if mount.create and not os.path.lexists(mount.source):
        _make(Path(mount.source))
    propagation = mount.propagation.removeprefix("r") or PRIVATE
    if propagation == SHARED:
        _require_shared(mount.source)
    return HostMount(mount.source, mount.target, mount.read_only, mount.recursive, propagation)


def _require_shared(source: str) -> None:
    """What is mounted in the container appears on the host only if the host shares the mount in which it lies."""
    place = os.path.realpath(source)
    found = max((mount for mount in mountinfo.read() if mountinfo.contains(mount.point, place)),
                key=lambda mount: len(mount.point), default=None)
    if found is not None and not found.shared:
        raise InvalidValue(f"path {source} is mounted on {found.point} but it is not a shared mount: "
                           f"mount --make-rshared {found.point}")


def _make(directory: Path) -> None:
    """With all that is missing above it, for everybody to enter, whatever our umask is."""
    try:
        for path in (*reversed(directory.parents), directory):
            if not path.exists():
                path.mkdir()
                path.chmod(0o755)
    except OSError as error:
        raise InvalidValue(f"{directory} cannot be made: {error.strerror}") from error


def _block_devices(limits: Resources) -> BlockDevices:
    """The numbers behind the paths. Raises: InvalidValue for what is no block device."""
    return BlockDevices(*(tuple(map(_numbered, rates)) for rates in (
        limits.blkio_weight_device, limits.read_bps, limits.write_bps, limits.read_iops, limits.write_iops)))


def _numbered(each: DeviceRate) -> BlockDevice:
    try:
        found = os.stat(each.path)
    except OSError as error:
        raise InvalidValue(f"the device {each.path} cannot be limited: {error.strerror}") from error
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidValue(f"{each.path} is no block device", hint="limit a disk, such as /dev/sda")
    return BlockDevice(f"{os.major(found.st_rdev)}:{os.minor(found.st_rdev)}", each.rate)


def _files(spec: ContainerSpec) -> dict[str, str]:
    """What a container finds in /etc about names: its own on no network, the host's on the host's. What depends on
    addresses comes with the start."""
    hosts = _host_file("/etc/hosts") if spec.network == "host" else ""
    name = f"127.0.1.1\t{spec.hostname}.{spec.domainname} {spec.hostname}\n" if spec.domainname else ""
    more = "".join(f"{_LOCAL if address == HOST_GATEWAY else address}\t{name}\n" for name, address in spec.net.hosts)
    return {"/etc/hostname": f"{spec.hostname}\n", "/etc/hosts": (hosts or _HOSTS) + name + more,
            "/etc/resolv.conf": _resolv(spec)}


def _resolv(spec: ContainerSpec) -> str:
    """The host's as it is, where nothing else was asked for."""
    host, wanted, own = _host_file("/etc/resolv.conf"), spec.net, bool(spec.net.attachments)
    asked = wanted.dns or wanted.dns_search or wanted.dns_options
    return resolv_file(host, wanted, own=own) if own or asked else host


def _host_file(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
