"""Kernel parameters that a container may have for itself: those of its own network and of its own messages.

    net.ipv4.ip_forward=1    net/ipv4/conf/eth0.100/forwarding=1    kernel.shmmax=67108864    fs.mqueue.msg_max=20

As sysctl(8) has it, the first separator decides: with `/` a dot is part of a name. Everything else belongs to the host.
"""

from collections.abc import Mapping

from domain.errors import InvalidValue

_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.")
_MESSAGES = frozenset({"msgmax", "msgmnb", "msgmni", "sem", "shmall", "shmmax", "shmmni", "shm_rmid_forced"})
_OWN_MESSAGES = frozenset({"", "private", "shareable", "none"})
_LONGEST_VALUE = 1024
_HINT = "a container has net.*, kernel.msg*, kernel.sem, kernel.shm* and fs.mqueue.* for itself; the rest is the host's"


def parse_sysctl(text: str) -> tuple[str, str]:
    """(name, value) of `name=value`. Raises: InvalidValue, also for what no container may set."""
    name, equals, value = text.partition("=")
    if not equals or not value:
        raise InvalidValue(f"invalid sysctl '{text}'", hint="write it as NAME=VALUE: net.ipv4.ip_forward=1")
    _checked_path(name)
    return name, value


def sysctl_steps(sysctls: Mapping[str, str], *, network: str, ipc: str) -> dict[str, str]:
    """Path below /proc/sys → value, in order; `network` and `ipc` are the modes of the namespaces.
    Raises: InvalidValue for what is not the container's own there."""
    return {_own_path(name, network, ipc): _checked_value(name, value) for name, value in sysctls.items()}


def _own_path(name: str, network: str, ipc: str) -> str:
    path = _checked_path(name)
    if path.startswith("net/") and (network == "host" or network.startswith("container:")):
        raise InvalidValue(f'sysctl "{name}" not allowed in {_owner(network)} network namespace')
    if not path.startswith("net/") and ipc not in _OWN_MESSAGES:
        raise InvalidValue(f'sysctl "{name}" not allowed in {_owner(ipc)} ipc namespace')
    return path


def _owner(mode: str) -> str:
    return "host" if mode == "host" else "another container's"


def _checked_path(name: str) -> str:
    parts = _parts(name)
    spelled = len(parts) > 1 and all(part.strip(".") and _LETTERS.issuperset(part) for part in parts)
    if not spelled or not _allowed(parts):
        raise InvalidValue(f"sysctl '{name}' is not allowed", hint=_HINT)
    return "/".join(parts)


def _parts(name: str) -> list[str]:
    first = next((character for character in name if character in "./"), ".")
    if first == "/":
        return name.split("/")
    return [part.replace("/", ".") for part in name.split(".")]  # `net.ipv4.conf.eth0/100.forwarding`


def _allowed(parts: list[str]) -> bool:
    match parts:
        case ["net", *_] | ["fs", "mqueue", _]:
            return True
        case ["kernel", name]:
            return name in _MESSAGES
    return False


def _checked_value(name: str, value: str) -> str:
    plain = value.isascii() and all(character.isprintable() or character == "\t" for character in value)
    if not value or not plain or len(value) > _LONGEST_VALUE:
        raise InvalidValue(f"invalid value of sysctl '{name}'", hint="use one line of printable characters")
    return value
