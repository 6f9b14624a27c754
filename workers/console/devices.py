"""The options of `run` and `create` that say what of the kernel's a container gets: devices, limits of its
processes, shared memory, parameters, groups."""

from collections.abc import Callable
from typing import TypeVar

from domain.devices import checked_rule, parse_device
from domain.errors import InvalidValue
from domain.isolation import Isolation
from domain.options import Option, Parsed, many, number, one
from domain.runtime.request import HOST
from domain.spec import Device, Ulimit
from domain.sysctls import parse_sysctl
from domain.text.units import parse_size
from domain.ulimits import parse_ulimit
from domain.userns import REMAP
from workers.console.errors import UNREADABLE, Plain

_Made = TypeVar("_Made")

OPTIONS: tuple[Option, ...] = (
    many("device", "", "Device of the host, or a directory of them", value="HOST[:INSIDE[:rwm]]"),
    many("device-cgroup-rule", "", "Let it use devices by their numbers: 'c 10:229 rwm'", value="rule"),
    one("domainname", "", "Domain of the host name inside", value="name"),
    many("group-add", "", "One more group for its user: a name of the image's, or a number", value="group"),
    number("oom-score-adj", "", "Whom the kernel kills first when memory is short (-1000 to 1000)"),
    one("shm-size", "", "Size of /dev/shm (64m)", value="size"),
    many("sysctl", "", "Set a kernel parameter of its own: net.*, kernel.msg*, kernel.shm*, fs.mqueue.*",
         value="NAME=VALUE"),
    one("userns", "", "User namespace: host, or remap: root inside is nobody outside", value="mode"),
    many("ulimit", "", "Limit of setrlimit(2), -1 for none", value="NAME=SOFT[:HARD]"),
)


def devices(options: Parsed) -> tuple[Device, ...]:
    """What was asked for. Raises Plain."""
    return tuple(_made(parse_device, text) for text in options.many("device"))


def device_rules(options: Parsed) -> tuple[str, ...]:
    """As they were written. Raises Plain."""
    return tuple(_made(checked_rule, text) for text in options.many("device-cgroup-rule"))


def ulimits(options: Parsed) -> tuple[Ulimit, ...]:
    """What was asked for; of several with one name the last. Raises Plain."""
    found = (_made(parse_ulimit, text) for text in options.many("ulimit"))
    return tuple({limit.name: limit for limit in found}.values())


def sysctls(options: Parsed) -> dict[str, str]:
    """Name → value. Raises Plain."""
    return dict(_made(parse_sysctl, text) for text in options.many("sysctl"))


def shm_size(options: Parsed) -> int | None:
    """In bytes. Raises Plain."""
    text = options.one("shm-size")
    return None if text is None else _made(parse_size, text)


def oom_score_adj(options: Parsed) -> int:
    """Raises Plain."""
    score = options.number("oom-score-adj") or 0
    if not -1000 <= score <= 1000:
        raise Plain(f"Invalid value {score}, range for oom score adj is [-1000, 1000]", status=UNREADABLE)
    return score


def with_identity(isolation: Isolation | None, options: Parsed) -> Isolation | None:
    """The wishes about isolation, and whose ids and groups it has. Raises Plain."""
    groups, userns = tuple(options.many("group-add")), options.text("userns")
    if userns not in ("", HOST, REMAP):
        raise Plain(f"--userns: invalid USER mode: {userns!a}", hint="use host or remap", status=UNREADABLE)
    if not groups and not userns:
        return isolation
    return (isolation or Isolation()).model_copy(update={"group_add": groups, "userns": userns})


def _made(make: Callable[[str], _Made], text: str) -> _Made:
    try:
        return make(text)
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint, status=UNREADABLE) from error
