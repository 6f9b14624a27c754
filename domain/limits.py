"""Limits as control groups know them: what is possible here, and which value goes into which file. Pure.

    settings(Resources(memory=64 << 20), control) == (("memory.limit_in_bytes", "67108864"), …)

A setting is a file of a group and what is written into it; they are written in this order. Sources: cgroup-v1/*.rst
and cgroup-v2.rst of the kernel's documentation.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from domain.errors import InvalidValue, Refused
from domain.resources import DeviceRate, Resources
from domain.runtime.control import Control, numbers, ranges

Setting = tuple[str, str]

DEFAULT_PIDS = 4096
"""So many processes a container may have if nobody said otherwise: a fork bomb must not take the host with it."""
LEAST_MEMORY = 6 << 20
DEFAULT_PERIOD = 100_000
LIVE = frozenset({
    "memory", "memory_swap", "memory_reservation", "cpu_shares", "cpu_period", "cpu_quota", "nano_cpus", "cpuset_cpus",
    "cpuset_mems", "pids_limit", "blkio_weight",
})
"""What can be changed while a container runs."""

_NANO = 10**9
_SHARES = range(2, 262_145)
_PERIODS = range(1000, 1_000_001)
_LEAST_QUOTA = 1000
_WEIGHTS = range(10, 1001)
_SWAPPINESS = range(101)
_MOST_PIDS = 4_194_304  # PID_MAX_LIMIT, include/linux/threads.h


@dataclass(frozen=True, slots=True)
class BlockDevice:
    """A block device by its numbers, `8:0`, with what is set for it."""

    numbers: str
    rate: int


@dataclass(frozen=True, slots=True)
class BlockDevices:
    """The device rates of `Resources`, their paths looked up on the host."""

    weight: tuple[BlockDevice, ...] = ()
    read_bps: tuple[BlockDevice, ...] = ()
    write_bps: tuple[BlockDevice, ...] = ()
    read_iops: tuple[BlockDevice, ...] = ()
    write_iops: tuple[BlockDevice, ...] = ()


NO_DEVICES = BlockDevices()


@dataclass(frozen=True, slots=True)
class _Want:
    """Something that was asked for: the files of which one must be there, and what is said when none is."""

    asked: bool
    files: tuple[str, ...]
    option: str
    hard: bool
    lost: str = field(default="discarded")


def check(resources: Resources, control: Control) -> tuple[str, ...]:
    """Whether all of it is possible: what this host cannot do and can be done without comes back as warnings.

    Raises: InvalidValue for impossible numbers, Refused for a limit that nobody here could enforce.
    """
    _check_memory(resources)
    _check_processors(resources, control)
    _check_sets(resources, control)
    if resources.blkio_weight and resources.blkio_weight not in _WEIGHTS:
        raise InvalidValue(f"invalid --blkio-weight {resources.blkio_weight}",
                           hint="Range of blkio weight is from 10 to 1000")
    for each in _all_rates(resources):
        if each.rate < 0:
            raise InvalidValue(f"invalid rate {each.rate} for the device {each.path}", hint="give a positive number")
        if not each.path.startswith("/dev/") or "\0" in each.path:
            raise InvalidValue(f"invalid device {each.path!r}", hint="name a disk, such as /dev/sda")
    for each in resources.blkio_weight_device:
        if each.rate not in _WEIGHTS:
            raise InvalidValue(f"invalid weight {each.rate} for the device {each.path}",
                               hint="Range of blkio weight is from 10 to 1000")
    return tuple(_complaints(resources, control))


def weighs(resources: Resources) -> bool:
    """Whether disks are to be shared by weight."""
    return bool(resources.blkio_weight or resources.blkio_weight_device)


def _all_rates(resources: Resources) -> tuple[DeviceRate, ...]:
    return (*resources.blkio_weight_device, *resources.read_bps, *resources.write_bps, *resources.read_iops,
            *resources.write_iops)


def _check_memory(wanted: Resources) -> None:
    if wanted.memory and wanted.memory < LEAST_MEMORY:
        raise InvalidValue(f"the memory limit {wanted.memory} is too small", hint="Minimum memory limit allowed is 6MB")
    if wanted.memory_swap > 0 and not wanted.memory:
        raise InvalidValue("--memory-swap limits memory and swap together: it needs a limit of memory",
                           hint="You should always set the Memory limit when using Memoryswap limit")
    if 0 < wanted.memory_swap < wanted.memory:
        raise InvalidValue(f"--memory-swap {wanted.memory_swap} is smaller than the memory limit {wanted.memory}",
                           hint="Minimum memoryswap limit should be larger than memory limit")
    if wanted.memory and wanted.memory < wanted.memory_reservation:
        raise InvalidValue(f"the reservation {wanted.memory_reservation} is above the memory limit {wanted.memory}",
                           hint="Minimum memory limit can not be less than memory reservation limit")
    if 0 < wanted.memory_reservation < LEAST_MEMORY:
        raise InvalidValue(f"the memory reservation {wanted.memory_reservation} is too small",
                           hint="Minimum memory reservation allowed is 6MB")
    if min(wanted.memory, wanted.memory_reservation, wanted.kernel_memory) < 0 or wanted.memory_swap < -1:
        raise InvalidValue("a memory limit cannot be negative", hint="--memory-swap alone takes -1, for no limit")
    check_swappiness(wanted.memory_swappiness)


def check_swappiness(value: int | None) -> None:
    """Raises: InvalidValue."""
    if value is not None and value not in _SWAPPINESS:
        raise InvalidValue(f"invalid value: {value}. Valid memory swappiness range is 0-100")


def _check_processors(wanted: Resources, control: Control) -> None:
    if wanted.nano_cpus and (wanted.cpu_quota or wanted.cpu_period):
        what = "CPU Quota" if wanted.cpu_quota else "CPU Period"
        raise InvalidValue(f"Conflicting options: Nano CPUs and {what} cannot both be set",
                           hint="--cpus sets both --cpu-quota and --cpu-period: give only one of them")
    most = len(control.processors) or 1
    if wanted.nano_cpus and not _NANO // 100 <= wanted.nano_cpus <= most * _NANO:
        raise InvalidValue(f"Range of CPUs is from 0.01 to {most}.00, as there are only {most} CPUs available",
                           hint=f"{wanted.nano_cpus / _NANO:g} were asked for")
    if wanted.cpu_shares and wanted.cpu_shares not in _SHARES:
        raise InvalidValue(f"invalid CPU shares {wanted.cpu_shares}", hint="give 2 to 262144")
    if wanted.cpu_period and wanted.cpu_period not in _PERIODS:
        raise InvalidValue(f"CPU cfs period {wanted.cpu_period} is out of range",
                           hint="CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)")
    if wanted.cpu_quota not in (0, -1) and wanted.cpu_quota < _LEAST_QUOTA:
        raise InvalidValue(f"CPU cfs quota {wanted.cpu_quota} is out of range",
                           hint="CPU cfs quota can not be less than 1ms (i.e. 1000)")
    if wanted.pids_limit is not None and wanted.pids_limit < -1:
        raise InvalidValue(f"invalid --pids-limit {wanted.pids_limit}", hint="give a number, or -1 for no limit")
    if (wanted.pids_limit or 0) > _MOST_PIDS:
        raise InvalidValue(f"invalid --pids-limit {wanted.pids_limit}", hint=f"no kernel has more than {_MOST_PIDS}")


def _check_sets(wanted: Resources, control: Control) -> None:
    for text, there, what, option in (
        (wanted.cpuset_cpus, control.processors, "CPUs", "--cpuset-cpus"),
        (wanted.cpuset_mems, control.nodes, "memory nodes", "--cpuset-mems"),
    ):
        if text and not (chosen := numbers(text, option)) <= there:
            raise InvalidValue(f"Requested {what} are not available - requested {text}, available: {ranges(there)}",
                               hint=f"missing: {ranges(chosen - there)}")


def _complaints(wanted: Resources, control: Control) -> Iterator[str]:
    for want in _wants(wanted):
        if want.asked and not control.files.intersection(want.files):
            if want.hard:
                raise Refused(f"{want.option} cannot be enforced: this kernel has no {want.files[0]}",
                              hint="leave the option out, or mount the control group that has it")
            yield f"Your kernel does not support {want.option} or the cgroup is not mounted: {want.lost}."
    if weighs(wanted) and not control.weighing and control.files.intersection((*_WEIGHT_FILES, *_DEVICE_WEIGHT_FILES)):
        yield ("No disk of this host heeds weights now, so --blkio-weight has no effect: "
               "for one that has the scheduler bfq (echo bfq >/sys/block/DISK/queue/scheduler) it has.")
    if wanted.kernel_memory:
        yield "--kernel-memory has no effect: what the kernel uses for a container counts as its memory, see --memory."
    if wanted.oom_kill_disable and not wanted.memory:
        yield ("OOM killer is disabled for the container, but no memory limit is set: "
               "this can result in the system running out of resources.")


def _wants(wanted: Resources) -> tuple[_Want, ...]:
    swap = wanted.memory_swap not in (0, -1)
    return (
        _Want(bool(wanted.memory), ("memory.max", "memory.limit_in_bytes"), "--memory", hard=True),
        _Want(swap, ("memory.swap.max", "memory.memsw.limit_in_bytes"), "--memory-swap", hard=False,
              lost="memory is limited without swap"),
        _Want(bool(wanted.memory_reservation), ("memory.low", "memory.soft_limit_in_bytes"), "--memory-reservation",
              hard=False),
        _Want(wanted.memory_swappiness is not None, ("memory.swappiness",), "--memory-swappiness", hard=False),
        _Want(wanted.oom_kill_disable, ("memory.oom_control",), "--oom-kill-disable", hard=False),
        _Want(bool(wanted.cpu_shares), ("cpu.weight", "cpu.shares"), "--cpu-shares", hard=True),
        _Want(bool(wanted.nano_cpus or wanted.cpu_quota > 0 or wanted.cpu_period), ("cpu.max", "cpu.cfs_quota_us"),
              "--cpus or --cpu-quota", hard=True),
        _Want(bool(wanted.cpuset_cpus), ("cpuset.cpus",), "--cpuset-cpus", hard=True),
        _Want(bool(wanted.cpuset_mems), ("cpuset.mems",), "--cpuset-mems", hard=True),
        _Want(wanted.pids_limit is not None and wanted.pids_limit > 0, ("pids.max",), "--pids-limit", hard=True),
        _Want(bool(wanted.blkio_weight), _WEIGHT_FILES, "--blkio-weight", hard=False),
        _Want(bool(wanted.blkio_weight_device), _DEVICE_WEIGHT_FILES, "--blkio-weight-device", hard=False),
        *(_Want(bool(getattr(wanted, name)), ("io.max", f"blkio.throttle.{name}_device"),
                f"--device-{name.replace('_', '-')}", hard=False) for name in _RATES),
    )


_RATES = {"read_bps": "rbps", "write_bps": "wbps", "read_iops": "riops", "write_iops": "wiops"}
"""The rates of `Resources` and what io.max calls them."""
_WEIGHT_FILES = ("io.bfq.weight", "io.weight", "blkio.bfq.weight", "blkio.weight")
_DEVICE_WEIGHT_FILES = ("io.bfq.weight", "io.weight", "blkio.bfq.weight_device", "blkio.weight_device")


def settings(wanted: Resources, control: Control, devices: BlockDevices = NO_DEVICES) -> tuple[Setting, ...]:
    """Everything that was asked for and can be done here, as it is written into the files of a new group."""
    found = (*_memory(wanted, control), *_processors(wanted, control), *_pids(wanted),
             *_disks(wanted, control, devices))
    return tuple((file, value) for file, value in found if file in control.files)


def _memory(wanted: Resources, control: Control) -> Iterator[Setting]:
    second = control.versions.get("memory") == 2
    if wanted.memory:
        total = wanted.memory_swap or 2 * wanted.memory
        yield ("memory.max" if second else "memory.limit_in_bytes", str(wanted.memory))
        if second:
            yield ("memory.swap.max", "max" if total < 0 else str(total - wanted.memory))
        else:
            yield ("memory.memsw.limit_in_bytes", str(total))
    if wanted.memory_reservation:
        yield ("memory.low" if second else "memory.soft_limit_in_bytes", str(wanted.memory_reservation))
    if wanted.memory_swappiness is not None:
        yield ("memory.swappiness", str(wanted.memory_swappiness))
    if wanted.oom_kill_disable:
        yield ("memory.oom_control", "1")


def _processors(wanted: Resources, control: Control) -> Iterator[Setting]:
    second = control.versions.get("cpu") == 2
    if wanted.cpu_shares:
        value = weight(wanted.cpu_shares) if second else wanted.cpu_shares
        yield ("cpu.weight" if second else "cpu.shares", str(value))
    yield from _quota(wanted, second=second)
    if wanted.cpuset_cpus:
        yield ("cpuset.cpus", wanted.cpuset_cpus)
    if wanted.cpuset_mems:
        yield ("cpuset.mems", wanted.cpuset_mems)


def _quota(wanted: Resources, *, second: bool) -> Iterator[Setting]:
    period = wanted.cpu_period or DEFAULT_PERIOD
    quota = wanted.nano_cpus * DEFAULT_PERIOD // _NANO if wanted.nano_cpus else wanted.cpu_quota
    if not (quota or wanted.cpu_period):
        return
    if second:
        yield ("cpu.max", f"{quota if quota > 0 else 'max'} {period}")
        return
    yield ("cpu.cfs_period_us", str(period))
    if quota:
        yield ("cpu.cfs_quota_us", str(quota))


def _pids(wanted: Resources) -> Iterator[Setting]:
    most = DEFAULT_PIDS if wanted.pids_limit is None else wanted.pids_limit
    yield ("pids.max", str(most) if most > 0 else "max")


def _disks(wanted: Resources, control: Control, devices: BlockDevices) -> Iterator[Setting]:
    controller = "io" if control.versions.get("io") == 2 else "blkio"
    file = next((name for name in _WEIGHT_FILES if name in control.files), "")
    if wanted.blkio_weight and file:
        yield (file, str(_io_weight(wanted.blkio_weight) if file == "io.weight" else wanted.blkio_weight))
    file = next((name for name in _DEVICE_WEIGHT_FILES if name in control.files), "")
    for device in devices.weight if file else ():
        rate = _io_weight(device.rate) if file == "io.weight" else device.rate
        yield (file, f"{device.numbers} {rate}")
    for name, key in _RATES.items():
        for device in getattr(devices, name):
            if controller == "io":
                yield ("io.max", f"{device.numbers} {key}={device.rate or 'max'}")
            else:
                yield (f"blkio.throttle.{name}_device", f"{device.numbers} {device.rate}")


def weight(shares: int) -> int:
    """cpu.weight of version 2 for cpu.shares of version 1, in proportion: 1024 becomes 100, 512 becomes 50.

    Who asks for half the shares of another gets half the time on both versions; the price is that there is nothing
    below 10 and above 102400. (The OCI runtimes' curve keeps the ends and gives 59 for 512.)
    """
    return max(1, min(10_000, round(shares * 100 / 1024)))


def _io_weight(weight: int) -> int:
    return 1 + (weight - 10) * 9999 // 990


def complete(wanted: Resources) -> Resources:
    """With what follows from the rest written down: swap is as large as memory if nothing was said about it."""
    if wanted.memory and not wanted.memory_swap:
        return wanted.model_copy(update={"memory_swap": 2 * wanted.memory})
    return wanted


def changed(before: Resources, changes: Mapping[str, int | str]) -> Resources:
    """The limits after an update. Raises: InvalidValue for what cannot be changed, or not like that."""
    unknown = sorted(set(changes) - LIVE)
    if unknown:
        raise InvalidValue(f"{unknown[0]} cannot be changed", hint=f"these can: {', '.join(sorted(LIVE))}")
    if before.nano_cpus and {"cpu_quota", "cpu_period"} & set(changes):
        raise InvalidValue("Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set",
                           hint="change it with --cpus")
    if (before.cpu_quota or before.cpu_period) and changes.get("nano_cpus"):
        raise InvalidValue("Conflicting options: NanoCPUs cannot be updated as CPU Quota has already been set",
                           hint="change it with --cpu-quota and --cpu-period")
    after = Resources.model_validate({**before.model_dump(), **changes})
    if 0 < after.memory_swap < after.memory and "memory_swap" not in changes:
        raise InvalidValue("Memory limit should be smaller than already set memoryswap limit",
                           hint="update the memoryswap at the same time: --memory-swap")
    return complete(after)


def restored(before: Resources, after: Resources, control: Control) -> tuple[Setting, ...]:
    """What an update writes: everything of `after`, and "no limit" where `before` had one that `after` has not."""
    return (*_unlimited(before, after, control), *settings(after, control))


def _unlimited(before: Resources, after: Resources, control: Control) -> Iterator[Setting]:
    second = {name for name, version in control.versions.items() if version == 2}
    none = [
        (before.memory and not after.memory, ("memory.swap.max", "max") if "memory" in second
         else ("memory.memsw.limit_in_bytes", "-1")),
        (before.memory and not after.memory, ("memory.max", "max") if "memory" in second
         else ("memory.limit_in_bytes", "-1")),
        (before.memory_reservation and not after.memory_reservation, ("memory.low", "0")
         if "memory" in second else ("memory.soft_limit_in_bytes", "-1")),
        (before.cpu_shares and not after.cpu_shares, ("cpu.weight", "100") if "cpu" in second
         else ("cpu.shares", "1024")),
        ((before.nano_cpus or before.cpu_quota) and not (after.nano_cpus or after.cpu_quota),
         ("cpu.max", f"max {DEFAULT_PERIOD}") if "cpu" in second else ("cpu.cfs_quota_us", "-1")),
        (before.cpuset_cpus and not after.cpuset_cpus, ("cpuset.cpus", ranges(control.processors))),
        (before.cpuset_mems and not after.cpuset_mems, ("cpuset.mems", ranges(control.nodes))),
    ]
    return (setting for lost, setting in none if lost and setting[0] in control.files)


def lines(found: Iterable[Setting]) -> tuple[str, ...]:
    """Settings as plans carry them: `memory.max 67108864`."""
    return tuple(f"{file} {value}" for file, value in found)
