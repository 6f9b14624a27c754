"""Makes archives, honest ones with the standard library and others byte by byte, and looks at what became of them."""

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

Member = tuple[tarfile.TarInfo, bytes]


def member(
    name: str,
    kind: bytes = tarfile.REGTYPE,
    data: bytes = b"",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: float = 1_000_000,
    target: str = "",
    device: tuple[int, int] = (0, 0),
    pax: Mapping[str, str] | None = None,
) -> Member:
    """One entry of an archive."""
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode, info.uid, info.gid, info.mtime = kind, len(data), mode, uid, gid, mtime
    info.linkname = target
    info.devmajor, info.devminor = device
    info.pax_headers = dict(pax or {})
    return info, data


def file(
    name: str,
    data: bytes = b"data",
    *,
    mode: int = 0o644,
    uid: int = 0,
    gid: int = 0,
    mtime: float = 1_000_000,
    pax: Mapping[str, str] | None = None,
) -> Member:
    """A regular file."""
    return member(name, tarfile.REGTYPE, data, mode=mode, uid=uid, gid=gid, mtime=mtime, pax=pax)


def directory(
    name: str,
    *,
    mode: int = 0o755,
    uid: int = 0,
    gid: int = 0,
    mtime: float = 1_000_000,
    pax: Mapping[str, str] | None = None,
) -> Member:
    """A directory."""
    return member(name, tarfile.DIRTYPE, mode=mode, uid=uid, gid=gid, mtime=mtime, pax=pax)


def symlink(name: str, target: str, *, uid: int = 0) -> Member:
    """A symbolic link."""
    return member(name, tarfile.SYMTYPE, mode=0o777, target=target, uid=uid)


def hardlink(name: str, target: str) -> Member:
    """A further name of something."""
    return member(name, tarfile.LNKTYPE, target=target)


def device(
    name: str, major: int, minor: int, kind: bytes = tarfile.CHRTYPE, *, mode: int = 0o644, uid: int = 0
) -> Member:
    """A device node."""
    return member(name, kind, device=(major, minor), mode=mode, uid=uid)


def fifo(name: str) -> Member:
    """A named pipe."""
    return member(name, tarfile.FIFOTYPE)


def archive(*members: Member, format: int = tarfile.PAX_FORMAT) -> bytes:
    """A whole archive with its end marker."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, errors="surrogateescape") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def header(
    name: bytes,
    kind: bytes = b"0",
    *,
    size: int = 0,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    target: bytes = b"",
    magic: bytes = b"ustar\x0000",
    sized: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """One header block, byte by byte, with the right checksum."""
    block = b"".join(
        (
            name.ljust(100, b"\0"),
            mode,
            uid,
            b"0000000\0",
            sized or b"%011o\0" % size,
            mtime,
            b" " * 8,
            kind,
            target.ljust(100, b"\0"),
            magic,
            rest,
        )
    ).ljust(512, b"\0")
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def padded(data: bytes) -> bytes:
    """The data in whole blocks."""
    return data + bytes(-len(data) % 512)


END = bytes(1024)


def tree(root: Path, *, times: bool = False) -> dict[str, str]:
    """What is below a directory, as text that compares well."""
    found = {}
    for where, directories, files in os.walk(os.fsencode(root)):
        for name in directories + files:
            path = os.path.join(where, name)
            found[os.fsdecode(os.path.relpath(path, os.fsencode(root)))] = _described(path, times)
    return found


def _described(path: bytes, times: bool) -> str:
    status = os.lstat(path)
    kinds = {
        stat.S_IFREG: "f",
        stat.S_IFDIR: "d",
        stat.S_IFLNK: "l",
        stat.S_IFCHR: "c",
        stat.S_IFBLK: "b",
        stat.S_IFIFO: "p",
    }
    text = f"{kinds[stat.S_IFMT(status.st_mode)]} {stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid}"
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as content:
            text += f" {hashlib.sha256(content.read()).hexdigest()[:12]} x{status.st_nlink}"
    elif stat.S_ISLNK(status.st_mode):
        text += f" -> {os.fsdecode(os.readlink(path))}"
    elif stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        text += f" {os.major(status.st_rdev)}:{os.minor(status.st_rdev)}"
    text += "".join(
        f" {key}={os.getxattr(path, key, follow_symlinks=False)!r}"
        for key in sorted(os.listxattr(path, follow_symlinks=False))
    )
    return f"{text} @{status.st_mtime_ns}" if times else text


def pieces(data: bytes, size: int = 100_000) -> Iterable[bytes]:
    """The data as it would come from a file."""
    return (data[at : at + size] for at in range(0, len(data), size))
