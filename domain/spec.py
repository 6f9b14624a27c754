"""ContainerSpec: what the user wants to run, validated; the environment's values travel apart, because they are sealed.

Shapes: `stop_timeout` in seconds (-1: wait for ever), `tmpfs` maps an absolute path to mount options.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InvalidValue
from domain.isolation import LENT, Isolation
from domain.mounts import Mount
from domain.network.wishes import JOINED, NOTHING, Networking
from domain.resources import NO_LIMITS, Resources
from domain.runtime.request import lender

RestartName = Literal["no", "on-failure", "always", "unless-stopped"]
NetworkMode = Literal["none", "host"]
LogDriver = Literal["local", "json-file", "none"]
DEFAULT_SHM_SIZE = 64 << 20
RUNTIME = "lading"
RUNTIMES = ("", RUNTIME, "runc", "io.containerd.runc.v2")
"""There is one way to start a container here; who names the usual one means no other."""
HealthAction = Literal["none", "restart", "kill"]


def checked_runtime(name: str) -> str:
    """The name. Raises: InvalidValue for one that no client means this engine by."""
    if name in RUNTIMES:
        return name
    raise InvalidValue(f"unknown or invalid runtime name: {name}", hint="containers are started by lading itself")


class RestartPolicy(BaseModel):
    """When a container that ended is started again; `retries` 0 means without limit (`on-failure` only)."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: RestartName = "no"
    retries: Annotated[int, Field(ge=0)] = 0


class LogConfig(BaseModel):
    """Where output is kept: `local` (frames with an index), `json-file` (for log shippers as well), `none` (nowhere).

    `options` are those of `--log-opt`, checked before they get here: `max-size`, `max-file`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    driver: LogDriver = "local"
    options: dict[str, str] = Field(default_factory=dict)


class HealthCheck(BaseModel):
    """How to find out whether a container is well; times in seconds.

    `test` is `("CMD", program, argument, …)` or `("CMD-SHELL", text)`. `action` is what happens to one that is not.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    test: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    start_period: float = 0.0
    start_interval: float = 5.0
    retries: int = 3
    action: HealthAction = "none"


class Ulimit(BaseModel):
    """A limit of setrlimit(2) by the name that ulimit uses (`nofile`); -1 is no limit."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    soft: int
    hard: int


class Device(BaseModel):
    """A device node of the host at a path inside; `access` is some of `rwm`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    source: str
    target: str
    access: str = "rwm"


class ExecSpec(BaseModel):
    """One more process in a running container; what is empty is as the container has it.

    `stdin` keeps its input open for a client, `env_names` are the names of its own sealed variables, in order,
    `env_unset` those of the container's variables that it is not to have.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    argv: Annotated[tuple[str, ...], Field(min_length=1)]
    user: str = ""
    workdir: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
    env_names: tuple[str, ...] = ()
    env_unset: tuple[str, ...] = ()


class ContainerSpec(BaseModel):
    """All that was asked for, after the image's own configuration was merged in.

    `image` is the reference as typed, `image_id` what it pointed to (`sha256:…`). `argv` is entrypoint and command
    joined: what the first process executes. `env_names` are the names of the sealed environment, in order, `env_unset`
    those of variables of the image that it is not to have. `runtime` and `volume_driver` are other names for what there
    is one of here, if it was called so. `tty` gives
    it a terminal, `stdin` an input that stays open for clients, and `stdin_once` ends that input for good with the
    first client that ends its own. `domainname` is what stands behind its host name. `shm_size` is that of /dev/shm in
    bytes. `annotations` are notes for tools that the engine keeps and does not read. `device_rules` are those of the
    kernel's device control group (`c 1:3 rwm`). `resources` and `isolation` None: nothing was asked for (see `limits`
    and `confinement`). `mounts` are all of them, whoever has asked for them; `volumes_from` says of which containers,
    as it was typed. `network` is `host`, or `none` for one of its own; then `networking` says what is on it
    (`network_mode` has it in one word).
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    image: str
    image_id: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env_names: tuple[str, ...] = ()
    env_unset: tuple[str, ...] = ()
    runtime: str = ""
    volume_driver: str = ""
    workdir: str = "/"
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    init: bool = False
    read_only: bool = False
    tmpfs: dict[str, str] = Field(default_factory=dict)
    stop_signal: str = "SIGTERM"
    stop_signal_given: bool = False
    stop_timeout: int = 10
    restart: RestartPolicy = RestartPolicy()
    network: NetworkMode = "none"
    auto_remove: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: LogConfig = LogConfig()
    health: HealthCheck | None = None
    resources: Resources | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: Annotated[int, Field(ge=0)] = DEFAULT_SHM_SIZE
    oom_score_adj: int = 0
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    sysctls: dict[str, str] = Field(default_factory=dict)
    isolation: Isolation | None = None
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    networking: Networking | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """What the first process executes."""
        return self.entrypoint + self.command

    @property
    def limits(self) -> Resources:
        """What it may use."""
        return self.resources or NO_LIMITS

    @property
    def net(self) -> Networking:
        """What it wants of networks."""
        return self.networking or NOTHING

    @property
    def network_mode(self) -> str:
        """`host`, `none`, `container:ID`, or the name of its first network."""
        if self.net.container:
            return f"{JOINED}{self.net.container}"
        return self.net.attachments[0].network if self.net.attachments else self.network

    @property
    def confinement(self) -> Isolation:
        """What it may do."""
        return self.isolation or _BY_DEFAULT


def lenders(spec: ContainerSpec) -> tuple[str, ...]:
    """The containers that have to run before this one can be started."""
    return (*shared_namespaces(spec).values(), *((spec.net.container,) if spec.net.container else ()))


def shared_namespaces(spec: ContainerSpec) -> dict[str, str]:
    """Kind of namespace (`pid`, `ipc`) → id of the container that shares its own with this one."""
    modes = {kind: getattr(spec.confinement, kind) for kind in LENT}
    return {kind: lender(mode) for kind, mode in modes.items() if lender(mode)}


_BY_DEFAULT = Isolation()
