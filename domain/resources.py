"""Limits of a container: what it may use of memory, processors, processes and disks.

Shapes: sizes in bytes, times in microseconds unless said otherwise; what is 0, empty or None was not asked for.
"""

from pydantic import BaseModel, ConfigDict


class DeviceRate(BaseModel):
    """So much of one block device: bytes or operations a second, or a weight."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    path: str
    rate: int


class Resources(BaseModel):
    """What `run` and `update` can limit.

    `memory_swap` is memory and swap together (-1: without limit). `nano_cpus` is processors × 10⁹. `pids_limit` None
    means the engine's own cap, -1 none. `memory_swappiness` is 0 to 100. `kernel_memory` is kept and limits nothing.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool = False
    kernel_memory: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    nano_cpus: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int | None = None
    blkio_weight: int = 0
    blkio_weight_device: tuple[DeviceRate, ...] = ()
    read_bps: tuple[DeviceRate, ...] = ()
    write_bps: tuple[DeviceRate, ...] = ()
    read_iops: tuple[DeviceRate, ...] = ()
    write_iops: tuple[DeviceRate, ...] = ()


NO_LIMITS = Resources()
"""Nothing was asked for."""
