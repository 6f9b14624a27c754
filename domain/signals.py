"""Signals of Linux (x86-64 and aarch64 agree) by number and name: a table, so that no host's libc decides."""

from domain.errors import InvalidValue

_NAMES = (
    "HUP",
    "INT",
    "QUIT",
    "ILL",
    "TRAP",
    "ABRT",
    "BUS",
    "FPE",
    "KILL",
    "USR1",
    "SEGV",
    "USR2",
    "PIPE",
    "ALRM",
    "TERM",
    "STKFLT",
    "CHLD",
    "CONT",
    "STOP",
    "TSTP",
    "TTIN",
    "TTOU",
    "URG",
    "XCPU",
    "XFSZ",
    "VTALRM",
    "PROF",
    "WINCH",
    "IO",
    "PWR",
    "SYS",
)
_FIRST_REALTIME, LAST = 34, 64


def _realtime() -> dict[str, int]:
    upward = {f"RTMIN+{step}": _FIRST_REALTIME + step for step in range(1, 16)}
    downward = {f"RTMAX-{step}": LAST - step for step in range(1, 15)}
    return {"RTMIN": _FIRST_REALTIME, "RTMAX": LAST} | upward | downward


NUMBERS: dict[str, int] = {known: value for value, known in enumerate(_NAMES, 1)} | _realtime()
"""Name without SIG → number."""
_ALIASES = {"IOT": 6, "CLD": 17, "POLL": 29}
_BY_NUMBER = {value: known for known, value in NUMBERS.items()}


def number(text: str) -> int:
    """The number of `KILL`, `SIGKILL`, `sigkill` or `9`. Raises InvalidValue."""
    key = text.strip().upper().removeprefix("SIG")
    value = NUMBERS.get(key) or _ALIASES.get(key) or (int(key) if _is_number(key) else 0)
    if not 1 <= value <= LAST:
        raise InvalidValue(f"invalid signal: {text}", hint="give a name like TERM, or a number from 1 to 64")
    return value


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 4


def name(value: int) -> str:
    """`SIGKILL` for 9; the bare number where there is no name."""
    known = _BY_NUMBER.get(value)
    return f"SIG{known}" if known else str(value)
