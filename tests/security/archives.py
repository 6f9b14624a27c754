"""Archives as an attacker would write them: root file systems for `import`, images for `load`."""

import hashlib
import io
import json
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Entry = tuple[tarfile.TarInfo, bytes]


def file(name: str, data: bytes = b"", mode: int = 0o755) -> Entry:
    """A regular file."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), mode
    return member, data


def special(name: str, kind: bytes, target: str = "", device: tuple[int, int] = (0, 0)) -> Entry:
    """Anything without content."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.mode = kind, target, 0o755
    member.devmajor, member.devminor = device
    return member, b""


def folder(name: str) -> Entry:
    """A directory."""
    return special(name, tarfile.DIRTYPE)


def link(name: str, target: str) -> Entry:
    """A symbolic link."""
    return special(name, tarfile.SYMTYPE, target)


def write(target: Path, entries: Iterable[Entry]) -> Path:
    """The archive with these entries."""
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for member, data in entries:
            tar.addfile(member, io.BytesIO(data) if member.isreg() else None)
    return target


def small(target: Path, base: Path) -> Path:
    """`base` with a few programs only: every entry costs time with each image."""
    applets = {f"bin/{name}" for name in ("busybox", "cat", "echo", "env", "pwd", "sh", "sleep", "true")}
    with tarfile.open(base) as tar:
        return write(target, [(member, _data(tar, member)) for member in tar
                              if not member.name.startswith("bin/") or member.name in applets])


def root_with(base: Path, *entries: Entry) -> list[Entry]:
    """The root file system of `base`, its entries replaced and followed by `entries`."""
    names = {member.name for member, _ in entries}
    with tarfile.open(base) as tar:
        kept = [(member, _data(tar, member)) for member in tar
                if not any(member.name == name or member.name.startswith(f"{name}/") for name in names)]
    return [*kept, *entries]


def image(target: Path, base: Path, name: str, config: dict[str, Any], **manifest: Any) -> Path:
    """What `load` takes: one layer, `config` as the image's wishes, `manifest` over what is right."""
    layer = base.read_bytes()
    digest = "sha256:" + hashlib.sha256(layer).hexdigest()
    text = json.dumps({"architecture": "amd64", "os": "linux", "config": config,
                       "rootfs": {"type": "layers", "diff_ids": [digest]}}).encode()
    right = {"Config": "config.json", "RepoTags": [f"{name}:latest"], "Layers": ["layer.tar"]}
    listed = json.dumps([{**right, **manifest}]).encode()
    return write(target, [file("config.json", text), file("layer.tar", layer), file("manifest.json", listed)])


def _data(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    stream = tar.extractfile(member) if member.isreg() else None
    return stream.read() if stream else b""
