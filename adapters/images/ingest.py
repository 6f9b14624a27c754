"""Downloads on their way, in `ingest/`: what has come stays there until it is complete, also over a crash.

    ingest/<hex>          the bytes of a blob so far; whoever goes on hashes them again first (1.4 GB/s)
    ingest/<hex>.keep     {"names": ["blobs/…", "layers/…"]}: what a pull that has not ended needs, done or not

The second kind makes leases that outlive the daemon: a pull that was killed finds everything it had. They end with the
pull, when somebody clears up (prune), or after a day.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from adapters.images.content import Content
from adapters.images.unpack import write
from domain.errors import InvalidValue
from domain.images.layer import digest_of, hex_of, is_digest
from domain.images.manifest import Descriptor, parse_json

KEPT_FOR = 24 * 3600.0
"""Seconds that what an interrupted pull had waits for the next one."""
_KEEP = ".keep"
_PIECE = 1 << 20


class Partial:
    """A blob in a file that grows: a `domain.ports.Sink`. `told` hears how much is there."""

    def __init__(self, path: Path, blob: Descriptor, told: Callable[[int], None]) -> None:
        self.path, self._blob, self._told = path, blob, told
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            if os.fstat(self._fd).st_size > blob.size:
                os.ftruncate(self._fd, 0)
            self._hash, self._offset = hashlib.sha256(), 0
            self._remember()
        except BaseException:
            self.close()
            raise

    @property
    def offset(self) -> int:
        """Bytes that are here."""
        return self._offset

    @property
    def whole(self) -> bool:
        """Whether all is here, and is what it should be."""
        return self._offset == self._blob.size and self.digest == self._blob.digest

    @property
    def digest(self) -> str:
        """Of what is here."""
        return "sha256:" + self._hash.hexdigest()

    def take(self, data: bytes) -> None:
        """The next bytes."""
        write(self._fd, data)
        self._hash.update(data)
        self._offset += len(data)
        self._told(self._offset)

    def restart(self) -> None:
        """Nothing of it was good."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hash, self._offset = hashlib.sha256(), 0
        self._told(0)

    def close(self) -> None:
        """What has come stays."""
        os.close(self._fd)

    def _remember(self) -> None:
        while piece := os.read(self._fd, _PIECE):
            self._hash.update(piece)
            self._offset += len(piece)
        self._told(self._offset)


def keep(content: Content, key: str, names: Sequence[str]) -> None:
    """From now on no sweep takes these, whatever happens to us."""
    path = _path(content, key)
    with content.workspace() as work:
        (work / "keep").write_text(json.dumps({"names": sorted(names)}), encoding="ascii")
        (work / "keep").rename(path)


def unkeep(content: Content, key: str) -> None:
    """The pull has ended, and the log says what it brought."""
    _path(content, key).unlink(missing_ok=True)


def lease_name(key: str) -> str:
    """What a running pull leases, so that nobody takes its list away."""
    return f"ingest/{_path_name(key)}"


def kept(content: Content, held: set[str], *, spare: bool, now: float | None = None) -> set[str]:
    """The names that interrupted and running pulls need, and the parts of blobs they have. Lists that are too old, or
    (without `spare`) belong to no running pull, are deleted."""
    names: set[str] = set()
    now = time.time() if now is None else now
    for path in content.ingest.glob(f"*{_KEEP}"):
        young = spare and now - _written_at(path) < KEPT_FOR
        if not young and f"ingest/{path.name}" not in held:
            path.unlink(missing_ok=True)
            continue
        listed = _listed(path)
        names |= listed | {f"ingest/{path.name}"}
        names |= {name.replace("blobs/", "ingest/", 1) for name in listed if name.startswith("blobs/")}
    return names


def _written_at(path: Path) -> float:
    """Long ago for a list whose pull has ended since the directory was read."""
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _listed(path: Path) -> set[str]:
    try:
        names = parse_json(path.read_bytes(), path.name)["names"]
    except (InvalidValue, FileNotFoundError, LookupError, TypeError):
        return set()
    parts = (str(name).partition("/") for name in names)
    return {f"{kind}/{hex}" for kind, _, hex in parts if kind in ("blobs", "layers") and is_digest(f"sha256:{hex}")}


def _path(content: Content, key: str) -> Path:
    return content.ingest / _path_name(key)


def _path_name(key: str) -> str:
    return hex_of(digest_of(key.encode())) + _KEEP
