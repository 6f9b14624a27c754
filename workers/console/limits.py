"""The options of `run`, `create` and `update` that limit what a container may use."""

from collections.abc import Sequence

from domain.errors import InvalidValue
from domain.limits import DEFAULT_PERIOD, check_swappiness
from domain.options import Option, OptionError, Parsed, flag, many, number, one
from domain.resources import DeviceRate, Resources
from domain.text.units import memory_size, parse_size
from workers.console.errors import UNREADABLE, Plain

_NANO = 10**9
LIVE_OPTIONS: tuple[Option, ...] = (
    number("blkio-weight", "", "Its share of the disks beside others: 10 to 1000"),
    number("cpu-period", "", "Microseconds in which --cpu-quota may be used up (100000)"),
    number("cpu-quota", "", "Microseconds of processor time in each period; more is never given"),
    number("cpu-shares", "c", "Its share of busy processors beside others (1024 if nothing is said)"),
    one("cpus", "", "So many processors at most: 0.5, 2", value="decimal"),
    one("cpuset-cpus", "", "Only these processors: 0-2,4", value="list"),
    one("cpuset-mems", "", "Only these memory nodes: 0,1", value="list"),
    one("memory", "m", "So much memory at most: 64m, 1.5g", value="bytes"),
    one("memory-reservation", "", "So much memory is left to it when the host runs short", value="bytes"),
    one("memory-swap", "", "So much memory and swap together; -1 for any", value="bytes"),
    number("pids-limit", "", "So many processes and threads at most; -1: any (4096 if not said)"),
)
OPTIONS: tuple[Option, ...] = (
    *LIVE_OPTIONS,
    many("blkio-weight-device", "", "Its share of one disk", value="dev:weight"),
    many("device-read-bps", "", "Bytes a second from a device: /dev/sda:1mb", value="dev:rate"),
    many("device-read-iops", "", "Reads a second from a device", value="dev:rate"),
    many("device-write-bps", "", "Bytes a second to a device", value="dev:rate"),
    many("device-write-iops", "", "Writes a second to a device", value="dev:rate"),
    one("kernel-memory", "", "Accepted, without effect: --memory limits it as well", value="bytes"),
    number("memory-swappiness", "", "How readily its memory is swapped out: 0 to 100 (cgroup v1)"),
    flag("oom-kill-disable", "", "Let it wait when its memory is used up, kill nothing (cgroup v1)"),
)


def resources(options: Parsed) -> Resources | None:
    """What was asked for. Raises OptionError, Plain."""
    found = Resources(
        **changes(options),  # type: ignore[arg-type]
        memory_swappiness=_swappiness(options.number("memory-swappiness")),
        oom_kill_disable=options.flag("oom-kill-disable"),
        kernel_memory=_size(options, "kernel-memory") or 0,
        blkio_weight_device=_rates(options, "blkio-weight-device"),
        read_bps=_rates(options, "device-read-bps", bytes_a_second=True),
        write_bps=_rates(options, "device-write-bps", bytes_a_second=True),
        read_iops=_rates(options, "device-read-iops"),
        write_iops=_rates(options, "device-write-iops"),
    )
    return None if found == Resources() else found


def changes(options: Parsed) -> dict[str, int | str]:
    """Those that can be changed later, by their names in `Resources`. Raises OptionError."""
    found: dict[str, int | str | None] = {
        "blkio_weight": options.number("blkio-weight"),
        "cpu_period": options.number("cpu-period"),
        "cpu_quota": options.number("cpu-quota"),
        "cpu_shares": options.number("cpu-shares"),
        "nano_cpus": _processors(options.one("cpus")),
        "cpuset_cpus": options.one("cpuset-cpus"),
        "cpuset_mems": options.one("cpuset-mems"),
        "memory": _size(options, "memory"),
        "memory_reservation": _size(options, "memory-reservation"),
        "memory_swap": -1 if options.one("memory-swap") == "-1" else _size(options, "memory-swap"),
        "pids_limit": options.number("pids-limit"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _size(options: Parsed, name: str) -> int | None:
    text = options.one(name)
    return None if text is None else _bytes(text, name, text)


def _bytes(text: str, name: str, whole: str) -> int:
    try:
        return parse_size(text)
    except InvalidValue as error:
        spelling = "-m, --memory" if name == "memory" else f"--{name}"
        raise OptionError(f'invalid argument "{whole}" for "{spelling}" flag: {error.message}',
                          hint=error.hint or "write a size as 64m or 1.5g") from error


def _processors(text: str | None) -> int | None:
    if text is None:
        return None
    whole, dot, part = text.partition(".")
    digits = [each for each in (whole, part) if each]
    if not digits or not all(each.isascii() and each.isdigit() and len(each) < 10 for each in digits) or (
            dot and not part):
        raise OptionError(f'invalid argument "{text}" for "--cpus" flag: not a number of processors',
                          hint="write it as 0.5 or 2")
    return int(whole or "0") * _NANO + int(part.ljust(9, "0") or "0")


def _swappiness(value: int | None) -> int | None:
    if value == -1:
        return None
    try:
        check_swappiness(value)
    except InvalidValue as error:
        raise Plain(error.message, status=UNREADABLE) from error
    return value


def _rates(options: Parsed, name: str, *, bytes_a_second: bool = False) -> tuple[DeviceRate, ...]:
    return tuple(_rate(text, name, bytes_a_second=bytes_a_second) for text in options.many(name))


def _rate(text: str, name: str, *, bytes_a_second: bool) -> DeviceRate:
    path, colon, value = text.rpartition(":")
    if not colon or not path.startswith("/dev/"):
        raise OptionError(f'invalid argument "{text}" for "--{name}" flag: bad format',
                          hint=f"write it as --{name} /dev/sda:{'1mb' if bytes_a_second else '100'}")
    if bytes_a_second:
        return DeviceRate(path=path, rate=_bytes(value, name, text))
    if not (value.isascii() and value.isdigit() and len(value) < 19):
        raise OptionError(f'invalid argument "{text}" for "--{name}" flag: the rate is no positive number')
    return DeviceRate(path=path, rate=int(value))


def shown(limits: Resources) -> str:
    """The limits in a few words, for lists: `64MiB, 0.5 cpus, 100 pids`."""
    return ", ".join(_words(limits))


def _words(limits: Resources) -> Sequence[str]:
    words: list[str] = []
    if limits.memory:
        words.append(memory_size(limits.memory))
    if limits.nano_cpus:
        words.append(f"{limits.nano_cpus / _NANO:g} cpus")
    elif limits.cpu_quota > 0:
        words.append(f"{limits.cpu_quota / (limits.cpu_period or DEFAULT_PERIOD):g} cpus")
    if limits.cpuset_cpus:
        words.append(f"cpus {limits.cpuset_cpus}")
    if limits.cpu_shares:
        words.append(f"{limits.cpu_shares} shares")
    if limits.pids_limit is not None:
        words.append(f"{limits.pids_limit} pids" if limits.pids_limit > 0 else "any pids")
    return words
