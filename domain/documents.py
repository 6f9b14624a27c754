"""Inspect documents with the industry's keys: what `inspect` prints and the Docker Engine API answers.

Pure: built from a fold and from what the engine knows besides. Keys of things that this version does not have carry the
value that clients read as "none" (empty text, 0, null), so that templates written for the standard CLI work.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from domain.container import LIVE, Container, State
from domain.health import Verdict, as_config
from domain.images.model import Image
from domain.isolation import Isolation
from domain.limits import DEFAULT_PIDS
from domain.mounts import Mount
from domain.network.settings import exposed_ports, host_config, network_settings
from domain.resources import DeviceRate, Resources
from domain.runtime.request import MASKED, READ_ONLY
from domain.spec import RUNTIME, ContainerSpec
from domain.text.times import ZERO, parse_rfc3339, rfc3339
from domain.text.units import SECOND

Document = dict[str, Any]

_STATUS = {
    State.CREATED: "created",
    State.STARTING: "created",
    State.RUNNING: "running",
    State.PAUSING: "running",
    State.PAUSED: "paused",
    State.UNPAUSING: "paused",
    State.STOPPING: "running",
    State.EXITED: "exited",
    State.RESTARTING: "restarting",
    State.REMOVING: "removing",
    State.DEAD: "dead",
    State.REMOVED: "removed",
}
_IMAGE_CONFIG: Document = {
    "User": "",
    "ExposedPorts": None,
    "Env": None,
    "Entrypoint": None,
    "Cmd": None,
    "Volumes": None,
    "WorkingDir": "",
    "Labels": None,
    "StopSignal": "",
    "Healthcheck": None,
    "OnBuild": None,
    "Shell": None,
}
"""What a config that leaves a key out means by it: scripts ask for `.Config.Cmd` of any image."""


def status_name(container: Container) -> str:
    """One of the seven names that clients know."""
    if container.state is State.STARTING and container.rest is not State.CREATED:
        return "restarting" if container.restarts else "exited"
    return _STATUS.get(container.state, container.state.value)


def container_document(
    container: Container,
    *,
    log_path: str = "",
    driver: str = "overlay2",
    size: tuple[int, int] | None = None,
    health: Verdict | None = None,
    places: Mapping[str, str] = MappingProxyType({}),
) -> Document:
    """A container; `places` says where the contents of its volumes lie on the host, by their names, `size` are the
    bytes written and those of the whole root file system, where they were asked for, `health` is what its probes have
    found since this daemon looks."""
    spec = container.settled
    argv = spec.argv
    document: Document = {
        "Id": container.id,
        "Created": rfc3339(container.created_at),
        "Path": argv[0] if argv else "",
        "Args": list(argv[1:]),
        "State": _state(container, health),
        "Image": spec.image_id,
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": log_path,
        "Name": f"/{container.name}",
        "RestartCount": container.restarts,
        "Driver": driver,
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": spec.confinement.apparmor,
        "ExecIDs": sorted(id for id, execution in container.execs.items() if execution.pid) or None,
        "HostConfig": _host_config(container, spec),
        "GraphDriver": {"Data": None, "Name": driver},
        "Mounts": [_mounted(mount, places) for mount in spec.mounts],
        "Config": _config(container, spec),
        "NetworkSettings": network_settings(container),
    }
    if size is not None:
        document |= {"SizeRw": size[0], "SizeRootFs": size[1]}
    return document


def _state(container: Container, health: Verdict | None) -> Document:
    status = status_name(container)
    alive = container.state in LIVE
    return {
        "Status": status,
        "Running": alive or status == "restarting",
        "Paused": status == "paused",
        "Restarting": status == "restarting",
        "OOMKilled": container.oom,
        "Dead": status == "dead",
        "Pid": container.pid if alive else 0,
        "ExitCode": container.exit_code,
        "Error": container.error,
        "StartedAt": rfc3339(container.started_at),
        "FinishedAt": rfc3339(container.finished_at),
        "Health": _health(container, health) if container.health else None,
    }


def _health(container: Container, verdict: Verdict | None) -> Document:
    return {
        "Status": container.health,
        "FailingStreak": container.health_streak if verdict is None else verdict.streak,
        "Log": [
            {
                "Start": rfc3339(probe.start),
                "End": rfc3339(probe.end),
                "ExitCode": probe.exit_code,
                "Output": probe.output,
            }
            for probe in (verdict.probes if verdict else ())
        ],
    }


def _config(container: Container, spec: ContainerSpec) -> Document:
    return {
        "Hostname": spec.hostname,
        "Domainname": spec.domainname,
        "User": spec.user,
        "ExposedPorts": exposed_ports(spec),
        "AttachStdin": "stdin" in container.attached,
        "AttachStdout": "stdout" in container.attached,
        "AttachStderr": "stderr" in container.attached,
        "Tty": spec.tty,
        "OpenStdin": spec.stdin,
        "StdinOnce": spec.stdin_once,
        "Env": [*container.env, *spec.env_unset],
        "Cmd": list(spec.command) or None,
        "Image": spec.image,
        "Volumes": {mount.target: {} for mount in spec.mounts if mount.anonymous} or None,
        "WorkingDir": spec.workdir,
        "Entrypoint": list(spec.entrypoint) or None,
        "OnBuild": None,
        "Labels": dict(sorted(spec.labels.items())),
        "Healthcheck": None if spec.health is None else as_config(spec.health),
        "Shell": None,
        "StopSignal": spec.stop_signal,
        "StopTimeout": spec.stop_timeout,
    }


def _security_options(confinement: Isolation) -> list[str]:
    """As `--security-opt` would spell them; a profile by its text."""
    options = ["no-new-privileges"] if confinement.no_new_privileges else []
    options += [f"apparmor={confinement.apparmor}"] if confinement.apparmor else []
    return options + ([f"seccomp={confinement.seccomp}"] if confinement.seccomp else [])


def _host_config(container: Container, spec: ContainerSpec) -> Document:
    confinement = spec.confinement
    return {
        "Binds": [_bind(mount) for mount in spec.mounts if _as_bind(mount)] or None,
        "Mounts": [_wish(mount) for mount in spec.mounts if not _as_bind(mount) and not mount.anonymous] or None,
        "ContainerIDFile": "",
        "Annotations": dict(sorted(spec.annotations.items())) or None,
        "LogConfig": {"Type": spec.log.driver, "Config": dict(sorted(spec.log.options.items()))},
        **host_config(spec, container.name, container.attachments),
        "RestartPolicy": {"Name": spec.restart.name, "MaximumRetryCount": spec.restart.retries},
        "AutoRemove": spec.auto_remove,
        "VolumeDriver": spec.volume_driver,
        "VolumesFrom": list(spec.volumes_from) or None,
        "CapAdd": list(confinement.cap_add) or None,
        "CapDrop": list(confinement.cap_drop) or None,
        "CgroupnsMode": confinement.cgroupns or "private",
        "GroupAdd": list(spec.confinement.group_add) or None,
        "IpcMode": confinement.ipc or "private",
        "Cgroup": "",
        "OomScoreAdj": spec.oom_score_adj,
        "PidMode": confinement.pid,
        "Privileged": confinement.privileged,
        "MaskedPaths": [] if confinement.privileged or confinement.open_paths else list(MASKED),
        "ReadonlyPaths": [] if confinement.privileged or confinement.open_paths else list(READ_ONLY),
        "ReadonlyRootfs": spec.read_only,
        "SecurityOpt": _security_options(confinement) or None,
        "Tmpfs": dict(sorted(spec.tmpfs.items())) or None,
        "UTSMode": confinement.uts,
        "UsernsMode": confinement.userns,
        "ShmSize": spec.shm_size,
        "Sysctls": dict(sorted(spec.sysctls.items())) or None,
        "Runtime": spec.runtime or RUNTIME,
        "Isolation": "default",
        "Init": spec.init,
        "ConsoleSize": [0, 0],
        **_limits(spec.limits),
        "CgroupParent": "",
        "DeviceRequests": None,
        "Devices": [
            {"PathOnHost": device.source, "PathInContainer": device.target, "CgroupPermissions": device.access}
            for device in spec.devices
        ],
        "DeviceCgroupRules": list(spec.device_rules) or None,
        "Ulimits": [{"Name": limit.name, "Soft": limit.soft, "Hard": limit.hard} for limit in spec.ulimits],
    }


def volume_document(
    name: str, mountpoint: str, created: int, *, options: Mapping[str, str], labels: Mapping[str, str]
) -> Document:
    """A volume; `created` in ns."""
    return {
        "CreatedAt": rfc3339(created - created % SECOND),
        "Driver": "local",
        "Labels": dict(labels) or None,
        "Mountpoint": mountpoint,
        "Name": name,
        "Options": dict(options) or None,
        "Scope": "local",
    }


def _as_bind(mount: Mount) -> bool:
    """Whether it stands among the binds, where `-v` puts it: directories of the host that it makes, and volumes with a
    name and nothing that only `--mount` can say."""
    plain = not (mount.subpath or mount.driver_options or mount.volume_labels)
    return mount.create or (mount.type == "volume" and not mount.anonymous and plain)


def _bind(mount: Mount) -> str:
    """As `-v` says it."""
    modes = ",".join(filter(None, (mount.mode, mount.propagation, "" if mount.copy_image else "nocopy")))
    return f"{mount.source}:{mount.target}" + (f":{modes}" if modes else "")


def _wish(mount: Mount) -> Document:
    """As `--mount` says it."""
    found: Document = {"Type": mount.type, "Target": mount.target}
    if mount.source:
        found["Source"] = mount.source
    if mount.read_only:
        found["ReadOnly"] = True
    if mount.propagation or not mount.recursive:
        found["BindOptions"] = {"Propagation": mount.propagation, "NonRecursive": not mount.recursive}
    if mount.type == "volume":
        found["VolumeOptions"] = {
            "NoCopy": not mount.copy_image,
            "Labels": dict(mount.volume_labels) or None,
            "DriverConfig": {"Name": "local", "Options": dict(mount.driver_options)} if mount.driver_options else None,
            "Subpath": mount.subpath,
        }
    return found


def _mounted(mount: Mount, places: Mapping[str, str]) -> Document:
    volume = {"Name": mount.source} if mount.type == "volume" else {}
    return {
        "Type": mount.type,
        **volume,
        "Source": places.get(mount.source, "") if volume else mount.source,
        "Destination": mount.target,
        **({"Driver": "local"} if volume else {}),
        "Mode": mount.mode,
        "RW": not mount.read_only,
        "Propagation": (mount.propagation or "rprivate") if mount.type == "bind" else "",
    }


def _limits(limits: Resources) -> Document:
    return {
        "CpuShares": limits.cpu_shares,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "NanoCpus": limits.nano_cpus,
        "Memory": limits.memory,
        "MemoryReservation": limits.memory_reservation,
        "KernelMemory": limits.kernel_memory,
        "MemorySwap": limits.memory_swap,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": DEFAULT_PIDS if limits.pids_limit is None else limits.pids_limit,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": [{"Path": each.path, "Weight": each.rate} for each in limits.blkio_weight_device],
        "BlkioDeviceReadBps": _rates(limits.read_bps),
        "BlkioDeviceWriteBps": _rates(limits.write_bps),
        "BlkioDeviceReadIOps": _rates(limits.read_iops),
        "BlkioDeviceWriteIOps": _rates(limits.write_iops),
    }


def _rates(rates: Sequence[DeviceRate]) -> list[Document]:
    return [{"Path": each.path, "Rate": each.rate} for each in rates]


def image_document(image: Image, references: Sequence[str], parent: str = "") -> Document:
    """An image; of its references those with a tag are `RepoTags`, those with a digest `RepoDigests`. `parent` is the
    id of the image that it was made from on this host."""
    config = image.config
    inner = config.get("config")
    created = config.get("created")
    return {
        "Id": image.id,
        "RepoTags": [name for name in references if "@" not in name],
        "RepoDigests": [name for name in references if "@" in name],
        "Parent": parent or str(config.get("parent") or ""),
        "Comment": _comment(config),
        "Created": rfc3339(parse_rfc3339(str(created))) if created else rfc3339(image.created) or ZERO,
        "DockerVersion": str(config.get("docker_version") or ""),
        "Author": str(config.get("author") or ""),
        "Config": _IMAGE_CONFIG | dict(inner) if isinstance(inner, Mapping) else _IMAGE_CONFIG,
        "Architecture": str(config.get("architecture") or ""),
        "Variant": str(config.get("variant") or ""),
        "Os": str(config.get("os") or "linux"),
        "Size": image.size,
        "GraphDriver": {"Data": None, "Name": "overlay2"},
        "RootFS": {"Type": "layers", "Layers": [layer.diff_id for layer in image.layers]},
        "Metadata": {"LastTagTime": ZERO},
    }


def _comment(config: Mapping[str, object]) -> str:
    history = config.get("history")
    last = history[-1] if isinstance(history, list) and history else None
    return str(last.get("comment") or "") if isinstance(last, Mapping) else ""
