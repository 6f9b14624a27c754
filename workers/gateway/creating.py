"""What a client wants of a new container, as the engine takes it. Pure.

Fields that ask for something which Lading does not have are refused by name; those that only another system has (of
Windows, of old kernels) are without effect there, too.
"""

import posixpath
from collections.abc import Iterator, Sequence
from typing import cast, get_args

from domain.errors import InvalidValue
from domain.isolation import Isolation
from domain.limits import LIVE
from domain.mounts import Mount, Propagation, clean, parse_volume
from domain.network.asked import NetworkingWish, NetworkWish, alone
from domain.network.wishes import DEFAULT, NONE
from domain.resources import DeviceRate, Resources
from domain.spec import Device, LogConfig, LogDriver, RestartName, RestartPolicy, Ulimit, checked_runtime
from domain.text.units import SECOND
from domain.userns import REMAP
from domain.volumes.driver import checked_driver
from workers.gateway import wishes
from workers.gateway.wishes import DEFAULT_LOG, Config, Create, Endpoint, Host
from workers.requests import CreateRequest, HealthRequest

_DEFAULTS = ("", "default")


def request(wish: Create, name: str, platform: str = "") -> CreateRequest:
    """The request. Raises: InvalidValue, naming the field."""
    host = wish.HostConfig
    _refuse_unsupported(host)
    if not wish.Image:
        raise InvalidValue("invalid reference format: no image was specified")
    return CreateRequest(
        image=wish.Image,
        name=name,
        platform=platform,
        command=tuple(wish.Cmd),
        entrypoint=None if wish.Entrypoint is None else tuple(wish.Entrypoint),
        env=tuple(item for item in wish.Env if "=" in item),
        unset=tuple(item for item in wish.Env if "=" not in item),
        runtime=checked_runtime(host.Runtime or wish.Runtime),
        volume_driver=host.VolumeDriver,
        workdir=wish.WorkingDir,
        user=wish.User,
        hostname=wish.Hostname,
        domainname=wish.Domainname,
        labels=dict(wish.Labels),
        annotations=dict(host.Annotations),
        init=host.Init,
        read_only=host.ReadonlyRootfs,
        tmpfs={clean(path): options for path, options in host.Tmpfs.items()},
        stop_signal=wish.StopSignal or None,
        stop_timeout=wish.StopTimeout,
        restart=_restart(host),
        networking=_networking(wish),
        auto_remove=host.AutoRemove,
        tty=wish.Tty,
        stdin=wish.OpenStdin,
        stdin_once=wish.StdinOnce,
        log=_log(host),
        health=_health(wish.Healthcheck),
        resources=resources(host),
        ulimits=tuple(Ulimit(name=each.Name, soft=each.Soft, hard=each.Hard) for each in host.Ulimits),
        shm_size=_positive("ShmSize", host.ShmSize),
        oom_score_adj=_score(host.OomScoreAdj),
        devices=tuple(_device(each) for each in host.Devices),
        device_rules=tuple(host.DeviceCgroupRules),
        sysctls=dict(host.Sysctls),
        isolation=_isolation(host),
        mounts=(*_binds(host), *_volumes(wish, host), *map(_mount, host.Mounts)),
        volumes_from=tuple(host.VolumesFrom),
    )


def _refuse_unsupported(host: Host) -> None:
    asked: dict[str, object] = {
        "CgroupParent": host.CgroupParent,
        "Cgroup": host.Cgroup,
        "CpuRealtimePeriod": host.CpuRealtimePeriod,
        "CpuRealtimeRuntime": host.CpuRealtimeRuntime,
        "DeviceRequests": host.DeviceRequests,
        "StorageOpt": host.StorageOpt,
        "MaskedPaths": host.MaskedPaths,
        "ReadonlyPaths": host.ReadonlyPaths,
    }
    for name, value in asked.items():
        if value:
            raise InvalidValue(f"HostConfig.{name} is not supported by Lading")
    if host.Isolation not in _DEFAULTS:
        raise InvalidValue(f"invalid isolation: {host.Isolation}: on Linux it is default")


def _restart(host: Host) -> RestartPolicy:
    policy = policy_of(host.RestartPolicy) or RestartPolicy()
    if host.AutoRemove and policy.name != "no":
        raise InvalidValue("can't create 'AutoRemove' container with restart policy")
    return policy


def policy_of(wish: wishes.Restart | None) -> RestartPolicy | None:
    """A restart policy. Raises: InvalidValue."""
    if wish is None or not wish.Name:
        return None
    if wish.Name not in get_args(RestartName):
        raise InvalidValue(f"invalid restart policy: unknown policy '{wish.Name}'; "
                           f"use one of 'no', 'always', 'on-failure', or 'unless-stopped'")
    if wish.MaximumRetryCount and wish.Name != "on-failure":
        raise InvalidValue("invalid restart policy: maximum retry count can only be used with 'on-failure'")
    if wish.MaximumRetryCount < 0:
        raise InvalidValue("invalid restart policy: maximum retry count cannot be negative")
    return RestartPolicy(name=cast(RestartName, wish.Name), retries=wish.MaximumRetryCount)


def _log(host: Host) -> LogConfig:
    """What nobody has chosen is the industry's default: some clients read no logs of another one."""
    if host.LogConfig is None:
        return LogConfig(driver=DEFAULT_LOG)
    driver = host.LogConfig.Type or DEFAULT_LOG
    if driver not in get_args(LogDriver):
        raise InvalidValue(f"logger: no log driver named '{driver}' is registered")
    return LogConfig(driver=cast(LogDriver, driver), options=dict(host.LogConfig.options))


def _health(wish: wishes.Health | None) -> HealthRequest:
    if wish is None:
        return HealthRequest()
    times = {"interval": wish.Interval, "timeout": wish.Timeout, "start_period": wish.StartPeriod,
             "start_interval": wish.StartInterval}
    for name, value in times.items():
        if value < 0 or 0 < value < SECOND // 1000:
            raise InvalidValue(f"{name} in Healthcheck cannot be less than 1ms")
    if wish.Retries < 0:
        raise InvalidValue("Retries in Healthcheck cannot be negative")
    seconds = {name: value / SECOND for name, value in times.items() if value}
    return HealthRequest(test=tuple(each for each in wish.Test if each or len(wish.Test) > 1), **seconds,  # type: ignore[arg-type]
                         retries=wish.Retries or None)


def resources(host: wishes.Resources) -> Resources | None:
    """What it may use; None when nothing was said. Raises: InvalidValue."""
    swappiness = None if host.MemorySwappiness in (None, -1) else host.MemorySwappiness
    found = Resources(
        memory=host.Memory,
        memory_swap=host.MemorySwap,
        memory_reservation=host.MemoryReservation,
        memory_swappiness=swappiness,
        oom_kill_disable=host.OomKillDisable,
        kernel_memory=host.KernelMemory,
        cpu_shares=host.CpuShares,
        cpu_period=host.CpuPeriod,
        cpu_quota=host.CpuQuota,
        nano_cpus=host.NanoCpus,
        cpuset_cpus=host.CpusetCpus,
        cpuset_mems=host.CpusetMems,
        pids_limit=-1 if host.PidsLimit == 0 else host.PidsLimit,
        blkio_weight=host.BlkioWeight,
        blkio_weight_device=tuple(DeviceRate(path=each.Path, rate=each.Weight) for each in host.BlkioWeightDevice),
        read_bps=_rates(host.BlkioDeviceReadBps),
        write_bps=_rates(host.BlkioDeviceWriteBps),
        read_iops=_rates(host.BlkioDeviceReadIOps),
        write_iops=_rates(host.BlkioDeviceWriteIOps),
    )
    return None if found == Resources() else found


def changes(wish: wishes.Update) -> dict[str, int | str]:
    """What of the limits of a container is to become another one; 0 and nothing stay as they are. Raises:
    InvalidValue."""
    unchanged = Resources()
    limits = resources(wish) or unchanged
    found = {name: getattr(limits, name) for name in LIVE if getattr(limits, name) != getattr(unchanged, name)}
    for name in ("CgroupParent", "CpuRealtimePeriod", "CpuRealtimeRuntime", "DeviceRequests", "Devices", "Ulimits"):
        if getattr(wish, name):
            raise InvalidValue(f"{name} cannot be changed by an update")
    return found


def _rates(rates: Sequence[wishes.Rate]) -> tuple[DeviceRate, ...]:
    return tuple(DeviceRate(path=each.Path, rate=each.Rate) for each in rates)


def _positive(name: str, value: int) -> int | None:
    if value < 0:
        raise InvalidValue(f"{name} can not be less than 0")
    return value or None


def _score(value: int) -> int:
    if not -1000 <= value <= 1000:
        raise InvalidValue(f"Invalid value {value}, range for oom score adj is [-1000, 1000]")
    return value


def _device(wish: wishes.Device) -> Device:
    return Device(source=wish.PathOnHost, target=wish.PathInContainer or wish.PathOnHost,
                  access=wish.CgroupPermissions or "rwm")


def _isolation(host: Host) -> Isolation | None:
    found = Isolation(
        privileged=host.Privileged,
        cap_add=tuple(host.CapAdd),
        cap_drop=tuple(host.CapDrop),
        group_add=tuple(host.GroupAdd),
        pid=host.PidMode,
        ipc="" if host.IpcMode in _DEFAULTS else host.IpcMode,
        uts=host.UTSMode,
        cgroupns=host.CgroupnsMode,
        userns=host.UsernsMode,
        # An empty list takes the place of the default one: nothing is hidden.
        open_paths=host.MaskedPaths == [] and host.ReadonlyPaths == [],
    )
    if found.userns == REMAP:
        raise InvalidValue("invalid UsernsMode: use host, or nothing")
    for text in host.SecurityOpt:
        found = found.model_copy(update=_security(text))
    return None if found == Isolation() else found


def _security(text: str) -> dict[str, object]:
    """One security option; clients send the text of a profile, not its name."""
    name, given, value = text.partition("=" if "=" in text else ":")
    if name == "no-new-privileges" and (not given or value in ("true", "false")):
        return {"no_new_privileges": value != "false"}
    if name == "seccomp" and value:
        return {"seccomp": "" if value == "builtin" else value}
    if name == "apparmor" and value:
        return {"apparmor": value}
    if (name, value) == ("systempaths", "unconfined"):
        return {"open_paths": True}
    if (name, value) == ("label", "disable"):
        return {}  # there is no SELinux that could be turned off
    raise InvalidValue(f"invalid --security-opt: {text[:200]!a}")


# Mounts --------------------------------------------------------------------------------------------------------------


def _binds(host: Host) -> Iterator[Mount]:
    for text in host.Binds:
        if text.startswith("."):
            raise InvalidValue(f"invalid volume specification: {text!r}: a path of the host must be absolute")
        yield parse_volume(text, "/")


def _volumes(wish: Config, host: Host) -> Iterator[Mount]:
    """Volumes without a name, but for places where something else is mounted."""
    taken = {clean(each.Target) for each in host.Mounts} | {each.target for each in _binds(host)}
    for path in wish.Volumes:
        if (place := clean(path)) not in taken and place not in host.Tmpfs:
            yield Mount(type="volume", target=place, anonymous=True)


def _mount(wish: wishes.Mount) -> Mount:
    if not wish.Target:
        raise InvalidValue("invalid mount config: field Target must not be empty")
    target = clean(wish.Target)
    if wish.Type == "bind":
        return _bind(wish, target)
    if wish.Type == "volume":
        return _volume(wish, target)
    if wish.Type == "tmpfs":
        return _tmpfs(wish, target)
    raise InvalidValue(f"invalid mount config: type {wish.Type!r} is not supported by Lading")


def _bind(wish: wishes.Mount, target: str) -> Mount:
    options = wish.BindOptions or wishes.BindWish()
    if wish.VolumeOptions or wish.TmpfsOptions:
        raise InvalidValue('invalid mount config for type "bind": it has options of another type')
    if not wish.Source.startswith("/"):
        raise InvalidValue(f'invalid mount config for type "bind": mount path {wish.Source!r} must be absolute')
    if options.Propagation not in get_args(Propagation):
        raise InvalidValue(f'invalid mount config for type "bind": invalid propagation mode: {options.Propagation}')
    for name in ("ReadOnlyNonRecursive", "ReadOnlyForceRecursive"):
        if getattr(options, name):
            raise InvalidValue(f"BindOptions.{name} is not supported by Lading")
    return Mount(type="bind", source=posixpath.normpath(wish.Source), target=target, read_only=wish.ReadOnly,
                 propagation=cast(Propagation, options.Propagation), recursive=not options.NonRecursive,
                 create=options.CreateMountpoint)


def _volume(wish: wishes.Mount, target: str) -> Mount:
    options = wish.VolumeOptions or wishes.VolumeWish()
    if wish.BindOptions or wish.TmpfsOptions:
        raise InvalidValue('invalid mount config for type "volume": it has options of another type')
    driver = options.DriverConfig or wishes.Driver()
    checked_driver(driver.Name)
    return Mount(type="volume", source=wish.Source, target=target, read_only=wish.ReadOnly, anonymous=not wish.Source,
                 copy_image=not options.NoCopy, subpath=options.Subpath, driver_options=dict(driver.Options),
                 volume_labels=dict(options.Labels))


def _tmpfs(wish: wishes.Mount, target: str) -> Mount:
    options = wish.TmpfsOptions or wishes.TmpfsWish()
    if wish.Source or wish.BindOptions or wish.VolumeOptions:
        raise InvalidValue('invalid mount config for type "tmpfs": it has a source, or options of another type')
    words = ["ro"] if wish.ReadOnly else []
    words += [f"size={options.SizeBytes}"] if options.SizeBytes else []
    words += [f"mode={options.Mode & 0o7777:o}"] if options.Mode else []
    words += ["=".join(pair) for pair in options.Options]
    return Mount(type="tmpfs", target=target, options=",".join(words), read_only=wish.ReadOnly)


# Networks ------------------------------------------------------------------------------------------------------------


def _networking(wish: Create) -> NetworkingWish:
    host = wish.HostConfig
    mode = NONE if wish.NetworkDisabled and host.NetworkMode in _DEFAULTS else host.NetworkMode
    networks = _networks(mode, wish)
    links = [*host.Links, *(link for each in wish.NetworkingConfig.EndpointsConfig.values() for link in each.Links)]
    return NetworkingWish(
        networks=networks,
        publish=tuple(_published(host)),
        publish_all=host.PublishAllPorts,
        expose=tuple(wish.ExposedPorts),
        dns=tuple(host.Dns),
        dns_search=tuple(host.DnsSearch),
        dns_options=tuple(host.DnsOptions),
        hosts=tuple(host.ExtraHosts),
        links=tuple(dict.fromkeys(links)),
    )


def _networks(mode: str, wish: Create) -> tuple[NetworkWish, ...]:
    """The one of the mode first, then those that are named besides."""
    endpoints = {_named(name): each for name, each in wish.NetworkingConfig.EndpointsConfig.items()}
    first = _named(mode)
    if alone(first):
        return (network_wish(first, endpoints.get(first, Endpoint()), wish.MacAddress),)
    said = mode not in (*_DEFAULTS, DEFAULT)
    names = list(dict.fromkeys(([first] if said or first in endpoints or not endpoints else []) + list(endpoints)))
    if names == [DEFAULT] and not wish.MacAddress and endpoints.get(DEFAULT, Endpoint()) == Endpoint():
        return ()
    macs = [wish.MacAddress, *[""] * (len(names) - 1)]
    return tuple(network_wish(name, endpoints.get(name, Endpoint()), mac)
                 for name, mac in zip(names, macs, strict=True))


def _named(mode: str) -> str:
    return DEFAULT if mode in _DEFAULTS else mode


def network_wish(name: str, endpoint: Endpoint, mac: str = "") -> NetworkWish:
    """What is wanted on one network. Raises: InvalidValue."""
    return NetworkWish(
        name=name,
        aliases=tuple(endpoint.Aliases) if name != DEFAULT else (),
        ip=endpoint.IPAMConfig.IPv4Address,
        ip6=endpoint.IPAMConfig.IPv6Address,
        mac=endpoint.MacAddress or mac,
        priority=endpoint.GwPriority,
        link_local=tuple(endpoint.IPAMConfig.LinkLocalIPs),
        driver_options=endpoint.DriverOpts,
    )


def _published(host: Host) -> Iterator[str]:
    """`PortBindings` as `-p` spells them."""
    for port, bindings in host.PortBindings.items():
        for each in bindings or [wishes.PortBinding()]:
            address = f"[{each.HostIp}]" if ":" in each.HostIp else each.HostIp
            front = f"{address}:{each.HostPort}:" if address else f"{each.HostPort}:" if each.HostPort else ""
            yield f"{front}{port}"
