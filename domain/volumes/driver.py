"""The options of the local driver, the only one there is: what a volume consists of besides a plain directory. Pure.

    local_mount({"type": "tmpfs", "device": "tmpfs", "o": "size=64m,uid=1000"})
        == LocalMount(fstype="tmpfs", source="tmpfs", flags=0, data="size=64m,uid=1000")
    local_mount({"type": "none", "device": "/srv/data", "o": "bind"}) == LocalMount("", "/srv/data", MS_BIND, "")
    local_mount({"type": "nfs", "device": ":/export", "o": "addr=10.0.0.5,ro"})
        == LocalMount("nfs", ":/export", MS_RDONLY, "addr=10.0.0.5")

The words of `o` are those of mount(8): the flags among them become flags, the rest goes to the file system.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.errors import InvalidValue

MS_BIND, MS_REC = 4096, 16384
_KNOWN = ("type", "device", "o")
_FLAGS = {
    "ro": 1, "nosuid": 2, "nodev": 4, "noexec": 8, "sync": 16, "dirsync": 128, "noatime": 1024, "nodiratime": 2048,
    "bind": MS_BIND, "rbind": MS_BIND | MS_REC, "relatime": 1 << 21, "strictatime": 1 << 24, "lazytime": 1 << 25,
}
"""Of mount(2)."""
_DEFAULTS = frozenset({
    "defaults", "rw", "suid", "dev", "exec", "async", "atime", "diratime", "norelatime", "nolazytime",
})
_NEVER = frozenset({"remount", "move", "shared", "rshared", "slave", "rslave", "private", "rprivate"})


@dataclass(frozen=True, slots=True)
class LocalMount:
    """What is mounted where the volume's contents lie; arguments of mount(2). `fstype` is empty for a bind."""

    fstype: str
    source: str
    flags: int
    data: str


def checked_driver(name: str) -> str:
    """The driver's name. Raises: InvalidValue for one that is not here, which is every one but `local`."""
    if name in ("", "local"):
        return "local"
    raise InvalidValue(f'error looking up volume plugin {name}: plugin "{name}" not found',
                       hint="the driver of this engine is local")


def local_mount(options: Mapping[str, str]) -> LocalMount | None:
    """None for a plain directory. Raises: InvalidValue."""
    if not options:
        return None
    unknown = sorted(set(options) - set(_KNOWN))
    if unknown:
        raise InvalidValue(f'invalid option: "{unknown[0]}"', hint="the local driver has type, device and o")
    flags, data = _words(options.get("o", ""))
    fstype, device = options.get("type", ""), options.get("device", "")
    if not device:
        raise InvalidValue("missing device in volume options", hint="device=/srv/data, device=tmpfs, device=:/export")
    if flags & MS_BIND:
        return _bind(device, flags, data)
    if not fstype or fstype == "none":
        raise InvalidValue("missing type in volume options", hint="type=tmpfs, type=nfs, or o=bind for a directory")
    if "/" in fstype or "\0" in "".join(options.values()):
        raise InvalidValue(f"invalid type {fstype!r} in volume options")
    if fstype.startswith("nfs") and not any(word.startswith("addr=") for word in data.split(",")):
        raise InvalidValue("missing addr in volume options of type nfs", hint="o=addr=SERVER")
    return LocalMount(fstype, device, flags, data)


def _bind(device: str, flags: int, data: str) -> LocalMount:
    if not device.startswith("/") or "\0" in device:
        raise InvalidValue(f"invalid device {device!r} in volume options: it must be an absolute path")
    if data:
        raise InvalidValue(f"invalid words {data!r} in volume options: a directory of the host has none of these")
    return LocalMount("", device, flags, "")


def _words(text: str) -> tuple[int, str]:
    flags, data = 0, []
    for word in filter(None, text.split(",")):
        if word in _NEVER:
            raise InvalidValue(f"invalid word {word!r} in volume options")
        if word in _FLAGS:
            flags |= _FLAGS[word]
        elif word not in _DEFAULTS:
            data.append(word)
    return flags, ",".join(data)
