"""The exit journal: how containers ended, on stable storage before anybody is told.

One line per entry, appended; the checksum (CRC-32 of the JSON text) finds a torn line, which ends the journal:

    5f2c9a10 {"op":"exit","id":"3f…","attempt":1,"pid":4711,"start":123456,"code":42,…}
    0bd1f0a2 {"op":"over","id":"3f…","attempt":1,"pid":4711,"start":123456}
    91f03b77 {"op":"exit","id":"3f…","attempt":1,"exec":"9c…","pid":4801,"start":123789,"code":0,…}

The file is allocated ahead (NUL bytes follow the last line), so that a full disk does not stop exits from being
recorded. `over` says that the exit was acknowledged. When the file is rewritten what is over is dropped, but for the
last few (of runs, and of execs): so a late `start` of such a one does not begin it anew. After a failed write or sync
nothing is appended to the same file any more: the next attempt writes a new one.
"""

import binascii
import json
import os
from collections.abc import Iterable, Iterator
from typing import Any

from domain.failpoints import failpoint

Key = tuple[str, int, str]
Exit = dict[str, Any]

_AHEAD = 1 << 16
_REWRITE_ABOVE = 1 << 16
_OVER_KEPT = 512
_LINE = 200


class Journal:
    """The open journal; one process writes it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._pending: dict[Key, Exit] = {}
        self._over: dict[Key, tuple[int, int]] = {}
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._sound = True
        self._end = self._allocated = 0
        self._replay()
        self._reserve()

    def pending(self) -> list[Exit]:
        """Exits nobody has acknowledged, oldest first."""
        return list(self._pending.values())

    def find(self, key: Key) -> Exit | None:
        """How the run ended, if that waits to be acknowledged."""
        return self._pending.get(key)

    def ended(self, key: Key) -> tuple[int, int] | None:
        """(pid, start time) of a run that has ended and is not long forgotten."""
        exit = self._pending.get(key)
        return _process(exit) if exit is not None else self._over.get(key)

    def append(self, exits: Iterable[Exit]) -> None:
        """Store exits; on stable storage when it returns. Raises OSError: nothing is promised, try again later."""
        exits = list(exits)
        failpoint("warden.before-journal")
        if self._sound:
            self._write("".join(_line({"op": "exit", **exit}) for exit in exits), sync=True)
        else:
            self._rewrite(exits)
        self._pending.update((_key(exit), exit) for exit in exits)
        failpoint("warden.after-journal")

    def acknowledge(self, keys: Iterable[Key]) -> None:
        """Forget exits that are in the log; if that is lost they are told again, so no sync."""
        known = [key for key in keys if key in self._pending]
        for key in known:
            self._over[key] = _process(self._pending.pop(key))
        for of_execs in (False, True):
            kept = [key for key in self._over if bool(key[2]) is of_execs]
            for key in kept[:-_OVER_KEPT]:
                del self._over[key]
        try:
            if not self._sound or (self._end > _REWRITE_ABOVE and self._end > 3 * self._live_size()):
                self._rewrite([])
            elif known:
                self._write("".join(_over(key, self._over[key]) for key in known if key in self._over), sync=False)
        except OSError:
            self._sound = False  # an acknowledgement that is lost is repeated; the next append starts a new file

    def close(self) -> None:
        """Release the file."""
        os.close(self._fd)

    def _replay(self) -> None:
        data = _read(self._fd)
        self._allocated = len(data)
        for entry, self._end in _entries(data):
            key = _key(entry)
            if entry.pop("op") == "over":
                self._pending.pop(key, None)
                self._over[key] = _process(entry)
            else:
                self._pending[key] = entry

    def _write(self, text: str, *, sync: bool) -> None:
        data = text.encode()
        self._sound = False
        written = 0
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], self._end + written)
        if sync:
            os.fdatasync(self._fd)
        self._sound = True
        self._end += len(data)
        self._reserve()

    def _reserve(self) -> None:
        if self._allocated - self._end < _AHEAD // 4:
            try:
                os.posix_fallocate(self._fd, self._end, _AHEAD)
            except OSError:
                return  # a full disk, or a file system that cannot; there is room for some fifty entries yet
            self._allocated = self._end + _AHEAD

    def _rewrite(self, more: list[Exit]) -> None:
        text = "".join(_over(key, process) for key, process in self._over.items())
        text += "".join(_line({"op": "exit", **exit}) for exit in (*self._pending.values(), *more))
        fresh = f"{self._path}.new"
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        old, self._fd = self._fd, fd
        os.close(old)
        self._end = self._allocated = 0
        self._sound = False
        self._reserve()
        self._write(text, sync=False)
        self._sound = False
        os.fsync(fd)
        os.rename(fresh, self._path)
        _sync_directory(os.path.dirname(self._path))
        self._sound = True

    def _live_size(self) -> int:
        return _LINE * (len(self._pending) + len(self._over))


def _key(entry: Exit) -> Key:
    return str(entry["id"]), int(entry["attempt"]), str(entry.get("exec", ""))


def _process(entry: Exit) -> tuple[int, int]:
    return int(entry["pid"]), int(entry["start"])


def _over(key: Key, process: tuple[int, int]) -> str:
    of_exec = {"exec": key[2]} if key[2] else {}
    return _line({"op": "over", "id": key[0], "attempt": key[1], **of_exec, "pid": process[0], "start": process[1]})


def _line(entry: Exit) -> str:
    text = json.dumps(entry, separators=(",", ":"))
    return f"{binascii.crc32(text.encode()):08x} {text}\n"


def _entries(data: bytes) -> Iterator[tuple[Exit, int]]:
    """Each entry with the offset behind it, up to the first line that is not whole."""
    start = 0
    while (stop := data.find(b"\n", start)) >= 0:
        checksum, _, text = data[start:stop].partition(b" ")
        if checksum != b"%08x" % binascii.crc32(text):
            return
        start = stop + 1
        yield json.loads(text), start


def _read(fd: int) -> bytes:
    chunks = []
    offset = 0
    while chunk := os.pread(fd, 1 << 20, offset):
        chunks.append(chunk)
        offset += len(chunk)
    return b"".join(chunks)


def _sync_directory(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
