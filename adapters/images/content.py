"""Where the store keeps things, and how they get there so that a crash at any moment leaves nothing half done.

    store/
      blobs/sha256/<hex>   configs, manifests, and layers as gzip or as they were received; never rewritten
      ingest/              downloads that can be resumed, and what interrupted pulls need
      layers/<chain>/fs    one extracted layer, ready as a lower directory of overlayfs
      layers/<chain>/layer.json   {"diff_id": …, "size": …, "blob": {"digest": …, "size": …, "compression": "gzip"}}
      stubs/<chain>/fs     mount points that the image with this uppermost layer lacks
      l/<short>            link to ../layers/<chain>/fs: short names for the old mount call
      tmp/                 everything is built here

The order is always: build in tmp, rename, and in the end `seal`: sync everything at once; then the caller records what
there is. So whatever is here and not recorded is a left-over, and what is recorded is here. No left-over is believed: a
layer counts once `seal` has given its record the final name, and a blob is hashed before somebody else uses it. What is
here is never replaced by what is not on the disk yet.
"""

import ctypes
import hashlib
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from adapters.images import trees
from adapters.images.spreading import spread_out
from domain.errors import StorageError
from domain.failpoints import failpoint
from domain.images.layer import digest_of, hex_of

SHORTEST_LINK = 6
_PIECE = 1 << 20
_RECORD, _UNSEALED = "layer.json", "layer.json.new"

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syncfs.argtypes = [ctypes.c_int]


class Blob(BaseModel):
    """A stored layer tar: `compression` is what `adapters.images.compression` found or made."""

    model_config = ConfigDict(frozen=True)

    digest: str
    size: int
    compression: str


class LayerRecord(BaseModel):
    """What is known about an extracted layer: `size` counts apparent file bytes, `tar_size` the uncompressed tar."""

    model_config = ConfigDict(frozen=True)

    diff_id: str
    size: int
    tar_size: int
    entries: int
    blob: Blob


class Content:
    """The directories of one store; made when missing, with rights for root alone."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs, self.layers, self.links = root / "blobs" / "sha256", root / "layers", root / "l"
        self.stubs, self.tmp, self.ingest = root / "stubs", root / "tmp", root / "ingest"
        self._active: set[Path] = set()
        self._unsealed: dict[str, LayerRecord] = {}
        self._sealing, self._linking = threading.Lock(), threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.blobs, self.layers, self.links, self.stubs, self.tmp, self.ingest):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        spread_out(str(self.tmp))  # where layers are unpacked

    def blob(self, digest: str) -> Path:
        """Where the blob is, or would be."""
        return self.blobs / hex_of(digest)

    def layer(self, chain: str) -> Path:
        """Where the layer is, or would be; its files are in `fs`."""
        return self.layers / hex_of(chain)

    def record(self, chain: str) -> LayerRecord | None:
        """What is known about an extracted layer; None when it is not here."""
        fresh = self._unsealed.get(chain)
        if fresh is not None and (self.layer(chain) / "fs").is_dir():
            return fresh
        try:
            return LayerRecord.model_validate_json((self.layer(chain) / _RECORD).read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError as error:
            raise StorageError(f"the record of layer {chain} is damaged") from error

    def put_blob(self, data: bytes) -> str:
        """Store the bytes, which must not be many, and give back their digest."""
        digest = digest_of(data)
        if not self._has(digest, data):
            with self.workspace() as work:
                (work / "blob").write_bytes(data)
                (work / "blob").rename(self.blob(digest))
        return digest

    def _has(self, digest: str, data: bytes) -> bool:
        try:
            return self.blob(digest).read_bytes() == data
        except FileNotFoundError:
            return False

    def adopt_stubs(self, work: Path, name: str, build: Callable[[Path], bool]) -> None:
        """Have the mount points of a stack built in `work`, a directory in tmp; nothing missing leaves it empty."""
        (work / "fs").mkdir(mode=0o755)
        if not build(work / "fs"):
            (work / "fs").rmdir()
        work.rename(self.stubs / name)

    def adopt_layer(self, work: Path, chain: str, record: LayerRecord) -> None:
        """Make `work`, a directory in tmp that holds `fs` and, unless it is kept already, `blob`, the layer of that
        chain id and its blob. Until `seal` it is one for this process only."""
        (work / _UNSEALED).write_text(record.model_dump_json(), encoding="ascii")
        if (work / "blob").exists():  # else it was here before
            self.adopt_blob(work / "blob", record.blob.digest)
        failpoint("images.blob-kept")
        if self.layer(chain).exists():  # of a crash before the seal
            trees.delete_path(str(self.layer(chain)))
        work.rename(self.layer(chain))
        self._unsealed[chain] = record
        failpoint("images.layer-kept")

    def adopt_blob(self, path: Path, digest: str) -> None:
        """Make a file with these bytes, which were verified, the blob; it is gone from where it was."""
        there = self.blob(digest)
        if there.exists() and digest_of_file(there) != digest:
            there.unlink()
        try:
            os.link(path, there)
        except FileExistsError:
            pass
        path.unlink(missing_ok=True)

    def seal(self) -> None:
        """Returns when everything that was put here before is on the disk; one sync for all, whoever put it here."""
        with self._sealing:
            fresh = tuple(self._unsealed)
            sync_tree(self.root)
            failpoint("images.synced")
            for chain in fresh:
                try:
                    (self.layer(chain) / _UNSEALED).rename(self.layer(chain) / _RECORD)
                except FileNotFoundError:
                    pass  # nobody needed it, and it was swept
            if fresh:
                sync_tree(self.root)
            for chain in fresh:
                self._unsealed.pop(chain, None)

    def link(self, target: str, wanted: str) -> str:
        """The short name of `target` (relative to l/) below l/: as many digits of `wanted` as make it unique."""
        with self._linking:
            for length in range(SHORTEST_LINK, len(wanted) + 1):
                name = wanted[:length]
                try:
                    os.symlink(target, self.links / name)
                    return name
                except FileExistsError:
                    if os.readlink(self.links / name) == target:
                        return name
        raise StorageError(f"no short name is left for {target}")

    def drop_dead_links(self) -> None:
        """Delete short names that lead nowhere. Looked at and deleted in one step: a layer that has gone may come back,
        and then its name is asked for again."""
        for name in os.listdir(self.links):
            with self._linking:
                if not os.path.exists(self.links / name):
                    (self.links / name).unlink(missing_ok=True)

    def kinds(self) -> dict[str, Path]:
        """What a sweep judges, name by name."""
        return {"layers": self.layers, "stubs": self.stubs, "blobs": self.blobs, "ingest": self.ingest}

    @contextmanager
    def workspace(self) -> Iterator[Path]:
        """A fresh directory in tmp; what is left in it at the end is deleted."""
        path = self.tmp / secrets.token_hex(8)
        self._active.add(path)
        try:
            path.mkdir(mode=0o700)
            yield path
        finally:
            trees.delete_path(str(path))
            self._active.discard(path)

    def idle(self) -> list[Path]:
        """What lies in tmp and belongs to no workspace in use."""
        return [path for path in sorted(self.tmp.iterdir()) if path not in self._active]

    def free(self) -> int:
        """Bytes that the disk still takes."""
        disk = os.statvfs(self.root)
        return disk.f_bavail * disk.f_frsize


def sync_tree(path: Path) -> None:
    """See syncfs(2): one call for thousands of files. Unlike fsync it reports errors only since kernel 5.8."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), str(path))
    finally:
        os.close(fd)


def digest_of_file(path: Path) -> str:
    """The digest of its bytes; empty when there is no such file."""
    found = hashlib.sha256()
    try:
        with path.open("rb", buffering=0) as file:
            while piece := file.read(_PIECE):
                found.update(piece)
    except FileNotFoundError:
        return ""
    return "sha256:" + found.hexdigest()
