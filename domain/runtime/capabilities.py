"""Capabilities by name, number and set; a set is an int with bit n for capability n (capabilities(7))."""

from collections.abc import Iterable
from typing import NamedTuple

from domain.errors import InvalidValue

_NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
    "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
    "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
    "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
    "CHECKPOINT_RESTORE",
)
NUMBERS = {name: number for number, name in enumerate(_NAMES)}
"""Name without CAP_ → number."""


def number(text: str) -> int:
    """The number of `NET_RAW`, `cap_net_raw` or `CAP_NET_RAW`. Raises InvalidValue."""
    found = NUMBERS.get(text.upper().removeprefix("CAP_"))
    if found is None:
        raise InvalidValue(f'invalid capability: "{text}"', hint="give a name of capabilities(7), with or without CAP_")
    return found


def mask(names: Iterable[str]) -> int:
    """The set that holds exactly `names`."""
    result = 0
    for name in names:
        result |= 1 << number(name)
    return result


DEFAULT = mask((
    "CHOWN", "DAC_OVERRIDE", "FSETID", "FOWNER", "MKNOD", "NET_RAW", "SETGID", "SETUID", "SETFCAP", "SETPCAP",
    "NET_BIND_SERVICE", "SYS_CHROOT", "KILL", "AUDIT_WRITE",
))
"""What a container gets when nobody asks for anything: 0xa80425fb."""

ALL = (1 << 64) - 1
"""Whatever this kernel has, and the engine holds."""


def effective(network: str, *, add: Iterable[str] = (), drop: Iterable[str] = (), privileged: bool = False) -> int:
    """What a container holds: the default for its network, without what is dropped, with what is added, each by name or
    ALL; a name that stands against the other side's ALL wins. Raises InvalidValue."""
    added, dropped = _wished(add), _wished(drop)
    if privileged:
        return ALL
    if added.everything:
        return ALL & ~dropped.named
    return (0 if dropped.everything else for_network(network) & ~dropped.named) | added.named


class _Wished(NamedTuple):
    everything: bool
    named: int


def _wished(names: Iterable[str]) -> _Wished:
    given = [name.upper() for name in names]
    return _Wished("ALL" in given, mask(name for name in given if name != "ALL"))


def spelled(text: str) -> str:
    """The one way to write it: `CAP_NET_ADMIN`, or `ALL`. Raises InvalidValue."""
    upper = text.upper()
    return upper if upper == "ALL" else f"CAP_{_NAMES[number(upper)]}"


def for_network(network: str) -> int:
    """The default set; without NET_RAW where the network is the host's. There it opens packet sockets on loopback,
    which read and forge what the engine says to its bus, passwords included: that would be root on the host."""
    return DEFAULT & ~mask(("NET_RAW",)) if network == "host" else DEFAULT
