"""Device nodes of the host: what a path stands for at the moment of a start."""

import os
import stat
from collections.abc import Iterator

from domain.errors import CommandFailed
from domain.runtime.request import DeviceNode
from domain.spec import Device

_NOT_DEVICES = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})
"""Directories in /dev that hold what a container has for itself."""
_NO_SUCH_FILE, _REFUSED = 127, 125


def nodes(device: Device) -> tuple[DeviceNode, ...]:
    """The device, or all below a directory. Raises: CommandFailed (127 where nothing is, 125 for another file)."""
    try:
        found = os.stat(device.source)
        if stat.S_ISDIR(found.st_mode):
            return tuple(_below(device.source, device.target, device.access))
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        code = _NO_SUCH_FILE if isinstance(error, FileNotFoundError | NotADirectoryError) else _REFUSED
        raise _failed(device.source, reason, code) from error
    if not _is_device(found):
        raise _failed(device.source, "not a device node", _REFUSED)
    return (_node(device.target, found, device.access),)


def _below(source: str, target: str, access: str) -> Iterator[DeviceNode]:
    """Links are left out, as they are by others: what they lead to has its own name."""
    for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
        inside = f"{target.rstrip('/')}/{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if entry.name not in _NOT_DEVICES:
                yield from _below(entry.path, inside, access)
        elif entry.name != "console" and _is_device(found := entry.stat(follow_symlinks=False)):
            yield _node(inside, found, access)


def _node(path: str, found: os.stat_result, access: str) -> DeviceNode:
    kind = "b" if stat.S_ISBLK(found.st_mode) else "c"
    return DeviceNode(path, kind, os.major(found.st_rdev), os.minor(found.st_rdev), stat.S_IMODE(found.st_mode),
                      found.st_uid, found.st_gid, access)


def _is_device(found: os.stat_result) -> bool:
    return stat.S_ISBLK(found.st_mode) or stat.S_ISCHR(found.st_mode)


def _failed(path: str, reason: str, code: int) -> CommandFailed:
    shown = ascii(path)[1:-1]
    message = f'error gathering device information while adding custom device "{shown}": {reason}'
    return CommandFailed(message, exit_code=code)
