"""Devices of the host for a container, as people write them, and rules of the kernel's device control group.

    /dev/snd    /dev/sda:/dev/xvda    /dev/fuse:rw    /dev/sda:/dev/xvda:r        c 1:3 rwm    b 8:* r    a *:* m
"""

import re

from domain.errors import InvalidValue
from domain.spec import Device

_RULE = re.compile(r"[acb] (?:[0-9]{1,10}|\*):(?:[0-9]{1,10}|\*) [rwm]{1,3}", re.ASCII)
_LARGEST_NUMBER = 2**31 - 1  # the filter compares signed 32-bit numbers; the kernel's major ends at 4095, minor at 2^20
_KERNELS = ("/proc", "/sys")


def parse_device(text: str) -> Device:
    """What `host[:inside[:access]]` says. Raises: InvalidValue."""
    source, *rest = text.split(":")
    if len(rest) > 2 or not all((source, *rest)):
        raise InvalidValue(f"invalid device specification: {text}", hint="write it as /dev/x[:/dev/y[:rwm]]")
    if len(rest) == 1 and _is_access(rest[0]):
        rest = [source, *rest]
    target, access = (*rest, *(source, "rwm")[len(rest):])
    return checked_device(Device(source=source, target=target, access=access))


def checked_device(device: Device) -> Device:
    """The device itself, if it can be meant. Raises: InvalidValue."""
    if not _is_access(device.access):
        raise InvalidValue(f"invalid device mode: {device.access}", hint="use some of r, w and m, each once")
    for path in (device.source, device.target):
        if not path.startswith("/") or "\0" in path:
            raise InvalidValue(f"invalid device path: {path!r}", hint="it must be absolute")
    _check_target(device.target)
    return device


def checked_rule(rule: str) -> str:
    """The rule itself. Raises: InvalidValue."""
    if not _RULE.fullmatch(rule) or len(set(rule.split()[2])) != len(rule.split()[2]):
        raise InvalidValue(f"invalid device cgroup format '{rule}'", hint="for example: 'c 10:229 rwm', 'b 8:* r'")
    if any(part != "*" and int(part) > _LARGEST_NUMBER for part in rule.split()[1].split(":")):
        raise InvalidValue(f"invalid device cgroup format '{rule}'", hint="the number is out of range")
    return rule


def _is_access(text: str) -> bool:
    return bool(text) and set(text) <= set("rwm") and len(set(text)) == len(text)


def _check_target(path: str) -> None:
    parts = [part for part in path.split("/") if part]
    clean = "/" + "/".join(parts)
    inside_kernel = any(clean == root or clean.startswith(f"{root}/") for root in _KERNELS)
    if not parts or clean == "/dev" or ".." in parts or "." in parts or inside_kernel:
        raise InvalidValue(f"invalid device path: {path!r}", hint="name a file inside, not in /proc or /sys")
