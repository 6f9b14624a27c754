"""What may be asked of the engine by a program or by the console; validated here, once, where bytes come in."""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from domain.health import Wanted
from domain.isolation import Isolation
from domain.mounts import Mount
from domain.resources import Resources
from domain.spec import Device, HealthAction, LogConfig, NetworkMode, RestartPolicy, Ulimit

Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]


def _all_known(wished: object) -> object:
    """Stored wishes may have fields of a later version; of one that is made now, nothing is left out silently."""
    unknown = wished.keys() - Isolation.model_fields.keys() if isinstance(wished, dict) else ()
    if unknown:
        raise ValueError(f"unknown: {', '.join(sorted(map(ascii, unknown)))}")
    return wished


class HealthRequest(BaseModel):
    """How to find out whether a container is well; times in seconds, None and empty "as the image says".

    `test` is `("CMD", program, argument, …)` or `("CMD-SHELL", text)`; ("NONE",) for no check at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    test: tuple[str, ...] = ()
    interval: Seconds | None = None
    timeout: Seconds | None = None
    start_period: Seconds | None = None
    start_interval: Seconds | None = None
    retries: Annotated[int, Field(ge=0, le=10**9)] | None = None
    action: HealthAction = "none"

    @property
    def wanted(self) -> Wanted:
        """As the domain merges it with the image's."""
        return Wanted(**dict(self))


class CreateRequest(BaseModel):
    """`run` and `create`: what was typed. None means "as the image says", or as the engine does; `env` items are
    `NAME=value`, `volumes_from` items a container's name or id with `:ro` or `:rw` behind it if given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Annotated[str, Field(min_length=1)]
    name: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    init: bool = False
    read_only: bool = False
    tmpfs: dict[str, str] = Field(default_factory=dict)
    stop_signal: str | None = None
    stop_timeout: int | None = None
    restart: RestartPolicy = RestartPolicy()
    network: NetworkMode = "none"
    auto_remove: bool = False
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    log: LogConfig = LogConfig()
    health: HealthRequest = HealthRequest()
    resources: Resources | None = None
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: Annotated[int, Field(ge=0)] | None = None
    oom_score_adj: Annotated[int, Field(ge=-1000, le=1000)] = 0
    devices: tuple[Device, ...] = ()
    device_rules: tuple[str, ...] = ()
    sysctls: dict[str, str] = Field(default_factory=dict)
    isolation: Annotated[Isolation | None, BeforeValidator(_all_known)] = None
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    pull: Literal["missing", "never", "always"] = "missing"


class VolumeRequest(BaseModel):
    """`volume create`: what was typed; without a name it gets one that nobody has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    driver: str = "local"
    options: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)


class ExecRequest(BaseModel):
    """`exec`: what was typed; what is empty is as the container has it. `env` items are `NAME=value`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    env: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
