"""What a container sees at a path of its own besides its image: directories of the host, volumes, memory.

    parse_volume("/srv/www:/www:ro", "/home/ann") == Mount(type="bind", source="/srv/www", target="/www", …)
    parse_mount("type=tmpfs,dst=/cache,tmpfs-size=64m") == Mount(type="tmpfs", target="/cache", options="size=67108864")
"""

import csv
import posixpath
from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from domain.errors import InvalidValue
from domain.runtime import tmpfs
from domain.text.units import parse_size
from domain.volumes.driver import checked_driver, local_mount
from domain.volumes.names import volume_name

Propagation = Literal["", "private", "rprivate", "slave", "rslave", "shared", "rshared"]

_PROPAGATIONS = ("private", "rprivate", "slave", "rslave", "shared", "rshared")
_WITHOUT_EFFECT = ("consistent", "cached", "delegated")  # of engines in virtual machines
_TRUE, _FALSE = ("", "1", "true"), ("0", "false")
_LXCFS = frozenset(f"/proc/{name}" for name in (
    "cpuinfo", "diskstats", "loadavg", "meminfo", "slabinfo", "stat", "swaps", "uptime"))
"""What may be replaced in /proc: figures of the host that a file system of another program shows smaller."""


class Mount(BaseModel):
    """One place inside, clean and absolute, and what is there.

    `source` is an absolute path of the host (`bind`), the name of a volume (`volume`), or empty (`tmpfs`); `create`
    makes a directory of the host that is missing. `anonymous` volumes were made for this container and go with it.
    `copy_image` lets an empty volume begin with what the image has at that place. `subpath` is a directory or file in
    the volume. `driver_options` and `volume_labels` are those with which a volume is made if it is missing. `recursive`
    takes along what is mounted below a source. `options` are those of a tmpfs, as `--tmpfs` writes them. `relabel` is
    `z` or `Z` for hosts with SELinux.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: Literal["bind", "volume", "tmpfs"]
    source: str = ""
    target: str
    read_only: bool = False
    propagation: Propagation = ""
    recursive: bool = True
    create: bool = False
    anonymous: bool = False
    copy_image: bool = True
    subpath: str = ""
    driver_options: dict[str, str] = Field(default_factory=dict)
    volume_labels: dict[str, str] = Field(default_factory=dict)
    options: str = ""
    relabel: Literal["", "z", "Z"] = ""

    @property
    def mode(self) -> str:
        """As `inspect` shows it: `ro,z`."""
        return ",".join(filter(None, ("ro" if self.read_only else "", self.relabel)))


def parse_volume(text: str, cwd: str) -> Mount:
    """What one `-v` says; `cwd` is where a path that begins with a dot belongs to. Raises: InvalidValue."""
    source, target, options = _parts(text)
    if source.startswith("."):
        source = posixpath.normpath(posixpath.join(cwd, source))
    if source.startswith("/"):
        return Mount(type="bind", source=posixpath.normpath(source), target=clean(target), create=True,
                     **_options(options, text, but="copy_image"))
    found = _options(options, text, but="propagation")
    return Mount(type="volume", source=source, target=clean(target), anonymous=not source, **found)


def _parts(text: str) -> tuple[str, str, str]:
    parts = text.split(":")
    match parts:
        case [target] if target:
            return "", target, ""
        case [source, target] if source and target:
            return source, target, ""
        case [source, target, options] if source and target:
            return source, target, options
    raise InvalidValue(f"invalid volume specification: {text!r}",
                       hint="write it as HOST-PATH:PATH[:ro] or NAME:PATH[:ro]")


def _options(text: str, whole: str, *, but: str) -> dict[str, Any]:
    """Of one kind of mount; `but` is what only the other kind has."""
    found: dict[str, Any] = {}
    for word in filter(None, text.split(",")):
        value: object
        if word in ("ro", "rw"):
            name, value = "read_only", word == "ro"
        elif word in ("z", "Z"):
            name, value = "relabel", word
        elif word in _PROPAGATIONS:
            name, value = "propagation", word
        elif word == "nocopy":
            name, value = "copy_image", False
        elif word in _WITHOUT_EFFECT:
            continue
        else:
            raise InvalidValue(f"invalid mode {word!r} in the volume {whole!r}", hint="known are ro, rw, z, Z, rslave")
        if name in found:
            raise InvalidValue(f"invalid mode {text!r} in the volume {whole!r}: one thing is said twice")
        if name == but:
            kind = "volumes" if but == "copy_image" else "directories of the host"
            raise InvalidValue(f"invalid mode {word!r} in the volume {whole!r}: it is for {kind}")
        found[name] = value
    return found


def parse_mount(text: str) -> Mount:
    """What one `--mount` says: comma-separated `key=value`. Raises: InvalidValue."""
    found: dict[str, str] = {}
    pairs: dict[str, dict[str, str]] = {name: {} for name in _REPEATED.values()}
    for item in _items(text):
        key, _, value = item.partition("=")
        if key.lower() in _REPEATED:
            left, _, right = value.partition("=")
            pairs[_REPEATED[key.lower()]][left] = right
            continue
        name = _KEYS.get(key.lower())
        if name is None:
            raise InvalidValue(f"unexpected key {key!r} in the mount {text!r}",
                               hint=f"known: {', '.join((*_KEYS, *_REPEATED))}")
        if name in found:
            raise InvalidValue(f"the mount {text!r} says {key} twice")
        found[name] = value
    kind = found.pop("type", "volume")
    if kind not in ("bind", "volume", "tmpfs"):
        raise InvalidValue(f"invalid mount type {kind!r} in {text!r}", hint="use bind, volume or tmpfs")
    _refuse_foreign(kind, [*found, *(name for name in pairs if pairs[name])], text)
    if not found.get("target"):
        raise InvalidValue(f"the mount {text!r} has no target", hint="add dst=PATH")
    return _mount(kind, found, text, pairs)


def _items(text: str) -> list[str]:
    try:
        return next(csv.reader([text]), [])
    except csv.Error as error:
        raise InvalidValue(f"the mount {text!r} cannot be read: {error}", hint="write it as key=value,…") from error


_KEYS: Mapping[str, str] = {
    "type": "type", "source": "source", "src": "source", "target": "target", "dst": "target", "destination": "target",
    "readonly": "read_only", "ro": "read_only", "bind-propagation": "propagation",
    "bind-nonrecursive": "bind_nonrecursive", "tmpfs-size": "tmpfs_size", "tmpfs-mode": "tmpfs_mode",
    "volume-nocopy": "volume_nocopy", "volume-subpath": "volume_subpath", "volume-driver": "volume_driver",
}
_REPEATED: Mapping[str, str] = {"volume-opt": "driver_options", "volume-label": "volume_labels"}
_OWN = {"propagation": "bind", "bind_nonrecursive": "bind", "tmpfs_size": "tmpfs", "tmpfs_mode": "tmpfs",
        "volume_nocopy": "volume", "volume_subpath": "volume", "volume_driver": "volume", "driver_options": "volume",
        "volume_labels": "volume"}


def _refuse_foreign(kind: str, found: Iterable[str], text: str) -> None:
    for name in found:
        if _OWN.get(name, kind) != kind:
            raise InvalidValue(f"the mount {text!r} mixes type {kind} with an option of type {_OWN[name]}")


def _mount(kind: str, found: Mapping[str, str], text: str, pairs: Mapping[str, dict[str, str]]) -> Mount:
    source, target = found.get("source", ""), clean(found["target"])
    read_only = _flag(found, "read_only", text)
    if kind == "tmpfs":
        if source:
            raise InvalidValue(f"the mount {text!r} has a source, and memory has none")
        options = _tmpfs_options(found, text, read_only=read_only)
        return Mount(type="tmpfs", target=tmpfs.target(target), options=options, read_only=read_only)
    if kind == "volume":
        checked_driver(found.get("volume_driver", ""))
        return Mount(type="volume", source=source, target=target, read_only=read_only, anonymous=not source,
                     copy_image=not _flag(found, "volume_nocopy", text), subpath=found.get("volume_subpath", ""),
                     driver_options=pairs["driver_options"], volume_labels=pairs["volume_labels"])
    if not source.startswith("/"):
        raise InvalidValue(f"invalid mount path: {source!r} must be absolute", hint="src=/srv/www")
    propagation = found.get("propagation", "")
    if propagation and propagation not in _PROPAGATIONS:
        raise InvalidValue(f"invalid propagation {propagation!r} in {text!r}", hint=f"use {', '.join(_PROPAGATIONS)}")
    return Mount(type="bind", source=posixpath.normpath(source), target=target, read_only=read_only,
                 propagation=cast(Propagation, propagation), recursive=not _flag(found, "bind_nonrecursive", text))


def _flag(found: Mapping[str, str], name: str, text: str) -> bool:
    value = found.get(name, "false").lower()
    if value not in (*_TRUE, *_FALSE):
        raise InvalidValue(f"invalid value {found[name]!r} in the mount {text!r}", hint="use true or false")
    return value in _TRUE


def _tmpfs_options(found: Mapping[str, str], text: str, *, read_only: bool) -> str:
    words = ["ro"] if read_only else []
    if "tmpfs_size" in found:
        words.append(f"size={parse_size(found['tmpfs_size'])}")
    if "tmpfs_mode" in found:
        words.append(f"mode={found['tmpfs_mode']}")
    options = ",".join(words)
    tmpfs.options(options)
    return options


def clean(path: str) -> str:
    """A place inside as it is stored. Raises: InvalidValue for `/`, for relative ones, and for what is the kernel's."""
    if not path.startswith("/") or "\0" in path:
        raise InvalidValue(f"invalid mount path: {path!r} must be absolute")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    whole = "/" + "/".join(parts)
    if not parts:
        raise InvalidValue("invalid mount path: the destination cannot be '/'")
    if ".." in parts:
        raise InvalidValue(f"invalid mount path: {path!r} must not hold '..'")
    if whole in ("/dev", "/proc", "/sys") or (whole.startswith("/proc/") and whole not in _LXCFS):
        raise InvalidValue(f"{whole} cannot be replaced by a mount", hint="/proc, /sys and /dev belong to the engine")
    return whole


def checked_mounts(mounts: Iterable[Mount], also: Iterable[str]) -> tuple[Mount, ...]:
    """The same, parents before what lies in them; `also` are targets of other mounts. Raises: InvalidValue."""
    found = sorted(mounts, key=lambda mount: mount.target)
    taken = set(map(clean, also))
    for mount in found:
        if clean(mount.target) != mount.target:
            raise InvalidValue(f"the mount path {mount.target!r} is not clean", hint=f"write {clean(mount.target)}")
        if mount.target in taken:
            raise InvalidValue(f"Duplicate mount point: {mount.target}", hint="mount one thing there")
        taken.add(mount.target)
        _check_kind(mount)
    return tuple(found)


def _check_kind(mount: Mount) -> None:
    if mount.type == "volume":
        _check_volume(mount)
        return
    if mount.type == "tmpfs":
        tmpfs.target(mount.target)
        tmpfs.options(mount.options)
        return
    if not mount.source.startswith("/") or "\0" in mount.source:
        raise InvalidValue(f"invalid mount path: {mount.source!r} must be absolute")


def _check_volume(mount: Mount) -> None:
    volume_name(mount.source)
    local_mount(mount.driver_options)
    if mount.propagation:
        raise InvalidValue(f"the propagation {mount.propagation} is for directories of the host, not for volumes")
    parts = mount.subpath.split("/")
    if mount.subpath and (mount.subpath.startswith("/") or ".." in parts or "\0" in mount.subpath):
        raise InvalidValue(f"invalid subpath {mount.subpath!r} of the volume {mount.source}",
                           hint="write a path below its root: volume-subpath=www/html")
