"""The body of `POST /containers/create` (and of update, commit), as clients send it: Config, HostConfig and
NetworkingConfig in the API's own words. Unknown fields are tolerated; what is known and not supported is refused in
`workers.gateway.creating`.
"""

from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from domain.spec import LogDriver
from workers.gateway.documents import Document

DEFAULT_LOG: LogDriver = "json-file"
"""How output is kept where a client does not say it."""


def _words(value: object) -> object:
    """A command may be one text."""
    return [value] if isinstance(value, str) else value


def _objects(value: object) -> object:
    """`{"80/tcp": null}` is as good as `{"80/tcp": {}}`."""
    return {key: {} if each is None else each for key, each in value.items()} if isinstance(value, dict) else value


def _lists(value: object) -> object:
    return {key: each or [] for key, each in value.items()} if isinstance(value, dict) else value


Words = Annotated[list[str], BeforeValidator(_words)]
Objects = Annotated[dict[str, dict[str, Any]], BeforeValidator(_objects)]


class Health(Document):
    """Times in ns."""

    Test: list[str] = Field(default_factory=list)
    Interval: int = 0
    Timeout: int = 0
    StartPeriod: int = 0
    StartInterval: int = 0
    Retries: int = 0


class Config(Document):
    """What does not depend on the host."""

    Hostname: str = ""
    Domainname: str = ""
    User: str = ""
    AttachStdin: bool = False
    AttachStdout: bool = True
    AttachStderr: bool = True
    ExposedPorts: Objects = Field(default_factory=dict)
    Tty: bool = False
    OpenStdin: bool = False
    StdinOnce: bool = False
    Env: list[str] = Field(default_factory=list)
    Cmd: Words = Field(default_factory=list)
    Healthcheck: Health | None = None
    Image: str = ""
    Volumes: Objects = Field(default_factory=dict)
    WorkingDir: str = ""
    Entrypoint: Words | None = None
    NetworkDisabled: bool = False
    MacAddress: str = ""
    OnBuild: list[str] = Field(default_factory=list)
    Labels: dict[str, str] = Field(default_factory=dict)
    StopSignal: str = ""
    StopTimeout: int | None = None


class PortBinding(Document):
    """A place on the host."""

    HostIp: str = ""
    HostPort: str = ""


class Log(Document):
    """Where output is kept."""

    Type: str = ""
    options: dict[str, str] = Field(default_factory=dict, alias="Config")  # pydantic means something else by Config


class Restart(Document):
    """When it is started again."""

    Name: str = ""
    MaximumRetryCount: int = 0


class BindWish(Document):
    """Of a directory of the host."""

    Propagation: str = ""
    NonRecursive: bool = False
    CreateMountpoint: bool = False
    ReadOnlyNonRecursive: bool = False
    ReadOnlyForceRecursive: bool = False


class Driver(Document):
    """Of a volume that is made if it is missing."""

    Name: str = ""
    Options: dict[str, str] = Field(default_factory=dict)


class VolumeWish(Document):
    """Of a volume."""

    NoCopy: bool = False
    Labels: dict[str, str] = Field(default_factory=dict)
    DriverConfig: Driver | None = None
    Subpath: str = ""


class TmpfsWish(Document):
    """Of memory; `Mode` is a number as Go knows it."""

    SizeBytes: int = 0
    Mode: int = 0
    Options: list[list[str]] = Field(default_factory=list)


class Mount(Document):
    """One of `HostConfig.Mounts`."""

    Type: str = "volume"
    Source: str = ""
    Target: str = ""
    ReadOnly: bool = False
    Consistency: str = ""
    BindOptions: BindWish | None = None
    VolumeOptions: VolumeWish | None = None
    TmpfsOptions: TmpfsWish | None = None
    ImageOptions: dict[str, Any] = Field(default_factory=dict)
    ClusterOptions: dict[str, Any] = Field(default_factory=dict)


class Device(Document):
    """A device of the host."""

    PathOnHost: str
    PathInContainer: str = ""
    CgroupPermissions: str = "rwm"


class Ulimit(Document):
    """A limit of setrlimit(2)."""

    Name: str
    Soft: int = 0
    Hard: int = 0


class Weight(Document):
    """Of a disk."""

    Path: str
    Weight: int = 0


class Rate(Document):
    """Of a disk."""

    Path: str
    Rate: int = 0


class Resources(Document):
    """What it may use: a part of HostConfig, and the body of an update."""

    CpuShares: int = 0
    Memory: int = 0
    NanoCpus: int = 0
    CgroupParent: str = ""
    BlkioWeight: int = 0
    BlkioWeightDevice: list[Weight] = Field(default_factory=list)
    BlkioDeviceReadBps: list[Rate] = Field(default_factory=list)
    BlkioDeviceWriteBps: list[Rate] = Field(default_factory=list)
    BlkioDeviceReadIOps: list[Rate] = Field(default_factory=list)
    BlkioDeviceWriteIOps: list[Rate] = Field(default_factory=list)
    CpuPeriod: int = 0
    CpuQuota: int = 0
    CpuRealtimePeriod: int = 0
    CpuRealtimeRuntime: int = 0
    CpusetCpus: str = ""
    CpusetMems: str = ""
    Devices: list[Device] = Field(default_factory=list)
    DeviceCgroupRules: list[str] = Field(default_factory=list)
    DeviceRequests: list[dict[str, Any]] = Field(default_factory=list)
    KernelMemory: int = 0
    KernelMemoryTCP: int = 0
    MemoryReservation: int = 0
    MemorySwap: int = 0
    MemorySwappiness: int | None = None
    OomKillDisable: bool = False
    PidsLimit: int | None = None
    Ulimits: list[Ulimit] = Field(default_factory=list)
    RestartPolicy: Restart | None = None


class Host(Resources):
    """What depends on the host."""

    Binds: list[str] = Field(default_factory=list)
    LogConfig: Log | None = None
    NetworkMode: str = ""
    PortBindings: Annotated[dict[str, list[PortBinding]], BeforeValidator(_lists)] = Field(default_factory=dict)
    AutoRemove: bool = False
    VolumeDriver: str = ""
    VolumesFrom: list[str] = Field(default_factory=list)
    ConsoleSize: list[int] = Field(default_factory=list)
    Annotations: dict[str, str] = Field(default_factory=dict)
    CapAdd: Words = Field(default_factory=list)
    CapDrop: Words = Field(default_factory=list)
    CgroupnsMode: str = ""
    Dns: list[str] = Field(default_factory=list)
    DnsOptions: list[str] = Field(default_factory=list)
    DnsSearch: list[str] = Field(default_factory=list)
    ExtraHosts: list[str] = Field(default_factory=list)
    GroupAdd: list[str] = Field(default_factory=list)
    IpcMode: str = ""
    Cgroup: str = ""
    Links: list[str] = Field(default_factory=list)
    OomScoreAdj: int = 0
    PidMode: str = ""
    Privileged: bool = False
    PublishAllPorts: bool = False
    ReadonlyRootfs: bool = False
    SecurityOpt: list[str] = Field(default_factory=list)
    StorageOpt: dict[str, str] = Field(default_factory=dict)
    Tmpfs: dict[str, str] = Field(default_factory=dict)
    UTSMode: str = ""
    UsernsMode: str = ""
    ShmSize: int = 0
    Sysctls: dict[str, str] = Field(default_factory=dict)
    Runtime: str = ""
    Isolation: str = ""
    Mounts: list[Mount] = Field(default_factory=list)
    MaskedPaths: list[str] | None = None
    ReadonlyPaths: list[str] | None = None
    Init: bool = False


class Addresses(Document):
    """Addresses that are asked for."""

    IPv4Address: str = ""
    IPv6Address: str = ""
    LinkLocalIPs: list[str] = Field(default_factory=list)


class Endpoint(Document):
    """What a container wants on a network."""

    IPAMConfig: Addresses = Addresses()
    Links: list[str] = Field(default_factory=list)
    Aliases: list[str] = Field(default_factory=list)
    MacAddress: str = ""
    DriverOpts: dict[str, str] = Field(default_factory=dict)
    GwPriority: int = 0


class Networking(Document):
    """Its networks by name."""

    EndpointsConfig: Annotated[dict[str, Endpoint], BeforeValidator(_objects)] = Field(default_factory=dict)


class Create(Config):
    """The whole body. docker-py names a runtime here, beside HostConfig."""

    Runtime: str = ""
    HostConfig: Host = Field(default_factory=lambda: Host())
    NetworkingConfig: Networking = Field(default_factory=lambda: Networking())


class Update(Resources):
    """The body of an update."""
