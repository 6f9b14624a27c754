"""Limits of setrlimit(2): their names, and how they are written: `nofile=1024:4096`, `core=0`, `memlock=-1`."""

from domain.errors import InvalidValue
from domain.spec import Ulimit

NUMBERS = {
    "cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8,
    "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}
"""Name → the kernel's number (asm-generic/resource.h). Without `as`: it would end the start itself."""
_LARGEST = 2**63 - 1


def parse_ulimit(text: str) -> Ulimit:
    """What `name=soft[:hard]` says; one number stands for both. Raises: InvalidValue."""
    name, equals, limits = text.partition("=")
    if not equals:
        raise InvalidValue(f"invalid ulimit argument: {text}", hint="write it as NAME=SOFT[:HARD]: nofile=1024:4096")
    soft, colon, hard = limits.partition(":")
    if ":" in hard:
        raise InvalidValue(f"too many limit value arguments - {limits}, can only have up to two, `soft[:hard]`")
    return checked_ulimit(Ulimit(name=name, soft=_limit(soft, text), hard=_limit(hard if colon else soft, text)))


def checked_ulimit(limit: Ulimit) -> Ulimit:
    """The limit itself, if it can be meant. Raises: InvalidValue."""
    if limit.name not in NUMBERS:
        raise InvalidValue(f"invalid ulimit type: {limit.name}", hint=f"known are {', '.join(sorted(NUMBERS))}")
    if not (-1 <= limit.soft <= _LARGEST and -1 <= limit.hard <= _LARGEST):
        raise InvalidValue(f"ulimit {limit.name} is out of range")
    if limit.hard != -1 and (limit.soft == -1 or limit.soft > limit.hard):
        shown = "unlimited" if limit.soft == -1 else str(limit.soft)
        raise InvalidValue(f"ulimit soft limit must be less than or equal to hard limit: {shown} > {limit.hard}")
    return limit


def _limit(text: str, whole: str) -> int:
    digits = text.removeprefix("-")
    if text != "-1" and (text != digits or not (digits.isascii() and digits.isdigit() and len(digits) <= 19)):
        raise InvalidValue(f"invalid ulimit argument: {whole}", hint="a limit is a whole number, or -1 for none")
    return int(text)
