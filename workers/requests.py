"""What may be asked of the engine by a program or by the console; validated here, once, where bytes come in."""

from collections.abc import Iterator
from typing import Annotated, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InvalidValue
from domain.health import Wanted
from domain.images.credentials import Credentials
from domain.isolation import Isolation
from domain.mounts import Mount
from domain.network.asked import NetworkingWish, NetworkWish
from domain.network.design import Asked
from domain.resources import Resources
from domain.spec import Device, HealthAction, LogConfig, RestartPolicy, Ulimit

Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]


def strangers(model: type[BaseModel], wished: object, path: str = "") -> Iterator[str]:
    """Full paths of fields that `model`, or a model inside of it, does not have: `request.isolation.cap_ad`.

    Models that are also stored let fields pass that a later version has; of a wish nothing is left out silently.
    """
    if not isinstance(wished, dict):
        return
    for name, value in wished.items():
        field = model.model_fields.get(name)
        if field is None:
            yield f"{path}{name}"
            continue
        for inner in models_in(field.annotation):
            for place, each in _each(value):
                yield from strangers(inner, each, f"{path}{name}.{place}")


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model in a type such as `tuple[Mount, ...]` or `Resources | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def _each(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, list):
        yield from ((f"{number}.", item) for number, item in enumerate(value))
    else:
        yield "", value


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
    `NAME=value`, `unset` are names of the image's variables that it is not to have, `runtime` and `volume_driver` are
    names by which clients call what there is one of here,
    `volumes_from` items a container's name or id with `:ro` or `:rw` behind it if given. `network` is the
    short form of a `networking` that names one network, `host`, `none` or `container:NAME`, and nothing else.
    `platform` is what the image must be for, `linux/arm64` or `arm64`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image: Annotated[str, Field(min_length=1)]
    name: str = ""
    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    runtime: str = ""
    volume_driver: str = ""
    workdir: str = ""
    user: str = ""
    hostname: str = ""
    domainname: str = ""
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    init: bool = False
    read_only: bool = False
    tmpfs: dict[str, str] = Field(default_factory=dict)
    stop_signal: str | None = None
    stop_timeout: int | None = None
    restart: RestartPolicy = RestartPolicy()
    network: str = ""
    networking: NetworkingWish = NetworkingWish()
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
    isolation: Isolation | None = None
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()
    pull: Literal["missing", "never", "always"] = "missing"
    platform: str = ""

    @property
    def asked_networking(self) -> NetworkingWish:
        """What it wants of networks. Raises: InvalidValue when it is said twice."""
        if not self.network:
            return self.networking
        if self.networking.networks:
            raise InvalidValue("the network is named twice")
        return self.networking.model_copy(update={"networks": (NetworkWish(name=self.network),)})


class RegistryKey(BaseModel):
    """Who a program is for the registry of a `pull` or `push`: for this one request, kept nowhere."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    user: str = ""
    password: str = Field(default="", repr=False)
    identity_token: str = Field(default="", repr=False)

    @property
    def credentials(self) -> Credentials:
        """As the registry's client takes them."""
        return Credentials(self.user, self.password, self.identity_token)


class NetworkRequest(BaseModel):
    """`network create`: what was typed; what is empty is chosen by the engine."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1)]
    driver: str = "bridge"
    subnets: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    ranges: tuple[str, ...] = ()
    reserved: dict[str, str] = Field(default_factory=dict)
    internal: bool = False
    attachable: bool = False
    ipv6: bool = False
    options: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)

    @property
    def asked(self) -> Asked:
        """As the domain lays it out."""
        return Asked(**dict(self))


class VolumeRequest(BaseModel):
    """`volume create`: what was typed; without a name it gets one that nobody has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = ""
    driver: str = "local"
    options: dict[str, str] = Field(default_factory=dict)
    labels: dict[str, str] = Field(default_factory=dict)


class ExecRequest(BaseModel):
    """`exec`: what was typed; what is empty is as the container has it. `env` items are `NAME=value`, `unset` are names
    of the container's variables that it is not to have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: Annotated[tuple[str, ...], Field(min_length=1)]
    env: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    user: str = ""
    workdir: str = ""
    tty: bool = False
    stdin: bool = False
    privileged: bool = False
