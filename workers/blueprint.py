"""From a request and an image to the spec of a container. Pure: what is missing in the request comes from the image."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from domain.devices import checked_device, checked_rule
from domain.errors import InvalidValue
from domain.health import health_check
from domain.images.model import Image
from domain.isolation import Isolation, checked_isolation
from domain.limits import complete
from domain.log_options import log_config
from domain.mounts import Mount, checked_mounts
from domain.network.asked import Wished, wished
from domain.network.ports import exposed
from domain.network.wishes import NOTHING, Networking
from domain.runtime.request import HOST
from domain.signals import number
from domain.spec import DEFAULT_SHM_SIZE, ContainerSpec, ExecSpec, checked_runtime
from domain.sysctls import sysctl_steps
from domain.ulimits import checked_ulimit
from domain.userns import with_userns
from domain.volumes import wanted as volumes
from domain.volumes.driver import checked_driver
from workers.requests import CreateRequest, ExecRequest

LONGEST_HOSTNAME = 64
DEFAULT_STOP_TIMEOUT = 10


@dataclass(frozen=True, slots=True)
class Joined:
    """What a container asks of networks; `hostname` is that of the container whose network it shares."""

    wished: Wished
    hostname: str = ""

    @property
    def mode(self) -> str:
        """`host`, `none`, `container:ID`, or the name of its first network."""
        return self.wished.mode


def blueprint(
    request: CreateRequest,
    image: Image,
    id: str,
    *,
    networks: Joined | None = None,
    machine: str = "",
    apparmor: bool = False,
    userns: str = HOST,
    others: Sequence[Mount] = (),
    new_name: Callable[[], str] = lambda: "",
) -> tuple[ContainerSpec, tuple[str, ...]]:
    """The spec and the environment; `networks` is what it asks of them, with names looked up; `machine` is the name of
    this machine, which a container in its network has, too; `apparmor` says whether this machine has that, `userns`
    what it is configured for. `others` are mounts of other containers that it shares, and `new_name` names a volume
    that nobody has named.
    Raises: InvalidValue, naming the value."""
    config, joined = _config(image), networks or Joined(wished(request.asked_networking))
    entrypoint, command = _argv(request, config)
    inherited = tuple(item for item in _strings(config.get("Env")) if item.partition("=")[0] not in request.unset)
    env = merged_env(inherited, request.env)
    mounts = checked_mounts(_mounts(request, config, others, new_name), request.tmpfs)
    spec = ContainerSpec(
        image=request.image,
        image_id=image.id,
        entrypoint=entrypoint,
        command=command,
        env_names=tuple(item.partition("=")[0] for item in env),
        env_unset=_unset(request.unset, env),
        runtime=checked_runtime(request.runtime),
        volume_driver=_volume_driver(request.volume_driver, (mount for mount in mounts if mount not in others)),
        workdir=_workdir(request.workdir or str(config.get("WorkingDir") or "/")),
        user=request.user or str(config.get("User") or ""),
        hostname=joined.hostname or _called(request, joined.mode, machine) or id[:12],
        domainname=_hostname(request.domainname, "domainname"),
        labels={**_labels(config), **request.labels},
        annotations=_annotations(request.annotations),
        init=request.init,
        read_only=request.read_only,
        tmpfs=dict(request.tmpfs),
        stop_signal=_stop_signal(request, config),
        stop_signal_given=bool(request.stop_signal or config.get("StopSignal")),
        stop_timeout=DEFAULT_STOP_TIMEOUT if request.stop_timeout is None else request.stop_timeout,
        restart=request.restart,
        network="host" if joined.mode == HOST else "none",
        networking=_networking(joined, config),
        auto_remove=request.auto_remove,
        log=log_config(request.log.driver, request.log.options),
        health=health_check(request.health.wanted, config.get("Healthcheck")),
        tty=request.tty,
        stdin=request.stdin,
        stdin_once=request.stdin_once,
        ulimits=tuple(map(checked_ulimit, request.ulimits)),
        shm_size=request.shm_size or DEFAULT_SHM_SIZE,
        oom_score_adj=request.oom_score_adj,
        sysctls=_sysctls(request, joined.mode),
        devices=tuple(map(checked_device, request.devices)),
        device_rules=tuple(map(checked_rule, request.device_rules)),
        isolation=_isolation(request, joined.mode, apparmor, userns),
        mounts=mounts,
        volumes_from=request.volumes_from,
        resources=None if request.resources is None else complete(request.resources),
    )
    return spec, env


def exec_spec(request: ExecRequest) -> ExecSpec:
    """What is to be executed in a running container. Raises: InvalidValue, naming the value."""
    if request.workdir:
        _workdir(request.workdir)
    if any("\0" in text for text in (*request.command, request.user)):
        raise InvalidValue("a command cannot hold a NUL byte")
    return ExecSpec(
        argv=request.command,
        user=request.user,
        workdir=request.workdir,
        tty=request.tty,
        stdin=request.stdin,
        privileged=request.privileged,
        env_names=tuple(item.partition("=")[0] for item in merged_env((), request.env)),
        env_unset=_unset(request.unset, request.env),
    )


def _unset(names: Sequence[str], env: Sequence[str]) -> tuple[str, ...]:
    """Names of variables that are not to be, but for those that have a value after all."""
    given = {item.partition("=")[0] for item in env}
    wrong = next((name for name in names if not name or "=" in name or "\0" in name), None)
    if wrong is not None:
        raise InvalidValue(f"invalid environment variable: {wrong!r}", hint="use NAME=value")
    return tuple(name for name in dict.fromkeys(names) if name not in given)


def _volume_driver(name: str, mounts: Iterable[Mount]) -> str:
    """A driver that is not here matters as soon as there is a volume."""
    if name and any(mount.type == "volume" for mount in mounts):
        return checked_driver(name)
    return name


def _mounts(
    request: CreateRequest, config: dict[str, Any], others: Sequence[Mount], new_name: Callable[[], str]
) -> tuple[Mount, ...]:
    declared = config.get("Volumes")
    image = volumes.declared(map(str, declared)) if isinstance(declared, dict) else ()
    return volumes.wanted(request.mounts, others, image, request.tmpfs, new_name)


def merged_env(image: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The image's environment first; a later item replaces an earlier one of the same name where it stands."""
    merged: dict[str, str] = {}
    for item in (*image, *own):
        name, equals, value = item.partition("=")
        if not name or not equals or "\0" in item:
            raise InvalidValue(f"invalid environment variable: {item!r}", hint="use NAME=value")
        merged[name] = value
    return tuple(f"{name}={value}" for name, value in merged.items())


def _config(image: Image) -> dict[str, Any]:
    config = image.config.get("config")
    return config if isinstance(config, dict) else {}


def _strings(value: object) -> tuple[str, ...]:
    return tuple(str(item) for item in value) if isinstance(value, list | tuple) else ()


def _labels(config: dict[str, Any]) -> dict[str, str]:
    labels = config.get("Labels")
    return {str(k): str(v) for k, v in labels.items()} if isinstance(labels, dict) else {}


def _annotations(given: dict[str, str]) -> dict[str, str]:
    if "" in given:
        raise InvalidValue("invalid Annotation: the empty string is not permitted as an annotation key")
    return dict(given)


def _argv(request: CreateRequest, config: dict[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if request.entrypoint is not None:
        entrypoint, command = tuple(part for part in request.entrypoint if part), request.command
    else:
        entrypoint = _strings(config.get("Entrypoint"))
        command = request.command or _strings(config.get("Cmd"))
    if not entrypoint and not command:
        raise InvalidValue("no command specified", hint="the image names none: give one after the image's name")
    if any("\0" in part for part in (*entrypoint, *command)):
        raise InvalidValue("a command cannot hold a NUL byte")
    return entrypoint, command


def _workdir(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise InvalidValue(f"the working directory {path!r} is invalid, it needs to be an absolute path")
    return path


def _called(request: CreateRequest, mode: str, machine: str) -> str:
    """Like the host where it shares its network or its name; another name there would rename the host."""
    shares_name = request.isolation is not None and request.isolation.uts == HOST
    if shares_name and (request.hostname or request.domainname):
        raise InvalidValue("conflicting options: hostname and the UTS mode")
    return _hostname(request.hostname) or (machine if shares_name or mode == HOST else "")


def _networking(joined: Joined, config: dict[str, Any]) -> Networking | None:
    """Ports that the image exposes come first."""
    ports = config.get("ExposedPorts")
    inner = tuple(port for text in ports for port in exposed(str(text))) if isinstance(ports, dict) else ()
    networking = joined.wished.networking
    if not networking.container and inner:
        networking = networking.model_copy(update={"exposed": tuple(dict.fromkeys((*inner, *networking.exposed)))})
    return None if networking == NOTHING else networking


def _hostname(name: str, what: str = "hostname") -> str:
    if any(ord(c) <= 32 or ord(c) >= 127 for c in name) or len(name) > LONGEST_HOSTNAME:
        raise InvalidValue(f"invalid {what}: {name!r}", hint=f"use at most {LONGEST_HOSTNAME} printable characters")
    return name


def _sysctls(request: CreateRequest, mode: str) -> dict[str, str]:
    ipc = request.isolation.ipc if request.isolation else ""
    sysctl_steps(request.sysctls, network=mode, ipc=ipc)
    return dict(request.sysctls)


def _isolation(request: CreateRequest, mode: str, apparmor: bool, userns: str) -> Isolation | None:
    groups = request.isolation.group_add if request.isolation else ()
    wrong = next((group for group in groups if not group or ":" in group or "\0" in group), None)
    if wrong is not None:
        raise InvalidValue(f"invalid group: {wrong!r}", hint="name a group of the image, or give a number")
    wished = with_userns(request.isolation or Isolation(), userns, network=mode)
    return None if wished == Isolation() else checked_isolation(wished, apparmor=apparmor)


def _stop_signal(request: CreateRequest, config: dict[str, Any]) -> str:
    text = request.stop_signal or str(config.get("StopSignal") or "SIGTERM")
    number(text)
    return text
