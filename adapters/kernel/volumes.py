"""Volumes as directories: `<root>/<name>/_data` is what containers see, and nobody else may look for it.

A volume is taken away by a rename out of sight first: who lists volumes never sees half of one.
"""

import asyncio
import os
import socket
from collections.abc import Sequence
from pathlib import Path

from adapters.kernel import erase, mountinfo, syscalls
from domain.errors import KernelError
from domain.volumes.driver import MS_BIND, MS_REC, LocalMount
from domain.volumes.names import CONTENTS, volume_name

_TRASH = ".removed"


def _is_mounted(place: str) -> bool:
    return any(mount.point == place for mount in mountinfo.read())


def _resolved(word: str) -> str:
    """The kernel wants the number of a server, people write its name. Raises: KernelError."""
    key, _, host = word.partition("=")
    if key != "addr":
        return word
    try:
        return f"addr={socket.getaddrinfo(host, None)[0][4][0]}"
    except OSError as error:
        raise KernelError(f"the server {host!r} of a volume is not known: {error.strerror}", stage="resolve") from error


class VolumeDirectories:
    """See `domain.ports.VolumeStore`."""

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.realpath(root))
        self._trash = erase.Trash(str(root / _TRASH))

    def mountpoint(self, name: str) -> str:
        """See the port."""
        return str(self._root / volume_name(name) / CONTENTS)

    async def make(self, name: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._make, volume_name(name))

    async def delete(self, name: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._delete, volume_name(name))

    async def size(self, name: str) -> int:
        """See the port."""
        return await asyncio.to_thread(erase.size, self.mountpoint(name))

    async def mount(self, name: str, what: LocalMount) -> None:
        """See the port. A server of files that does not answer costs a thread, not the engine."""
        await asyncio.to_thread(self._mount, self.mountpoint(name), what)

    async def unmount(self, name: str) -> None:
        """See the port."""
        await asyncio.to_thread(self._unmount, self.mountpoint(name))

    async def mounted(self) -> Sequence[str]:
        """See the port."""
        return await asyncio.to_thread(self._mounted)

    def _mount(self, place: str, what: LocalMount) -> None:
        if _is_mounted(place):
            return
        data = ",".join(map(_resolved, what.data.split(","))) if what.data else ""
        bind = what.flags & (MS_BIND | MS_REC)
        syscalls.mount(what.source, place, what.fstype, bind or what.flags, "" if bind else data)
        if bind and what.flags != bind:  # the first call has ignored the others
            syscalls.mount("", place, "", what.flags | syscalls.MS_REMOUNT | MS_BIND, "")

    def _unmount(self, place: str) -> None:
        while _is_mounted(place):
            syscalls.umount2(place, 0)

    def _mounted(self) -> list[str]:
        """By the place of the contents: whatever else lies there is not ours."""
        found = (Path(mount.point) for mount in mountinfo.read())
        return sorted({point.parent.name for point in found
                       if point.name == CONTENTS and point.parent.parent == self._root})

    def _refuse_mounts(self, name: str) -> None:
        for mount in mountinfo.read():
            if mountinfo.contains(str(self._root / name), mount.point):
                raise KernelError(f"volume {name} cannot be deleted: something is mounted on {mount.point}",
                                  stage="remove", path=mount.point, hint=f"umount {mount.point}")

    def _make(self, name: str) -> None:
        """Closed to other users of the host on the way there; inside, its root is like that of any file system."""
        try:
            for path, mode in ((self._root, 0o700), (self._root / name, 0o700), (self._root / name / CONTENTS, 0o755)):
                try:
                    path.mkdir(mode)
                except FileExistsError:
                    continue
                path.chmod(mode)
        except OSError as error:
            raise KernelError(f"volume {name} cannot be made: {error.strerror}", errno=error.errno or 0,
                              stage="mkdir", path=str(self._root / name)) from error

    def _delete(self, name: str) -> None:
        """With what a crash has left of earlier ones. What no event tells of stays: it may be somebody's data, as what
        he has mounted there is."""
        try:
            self._unmount(self.mountpoint(name))
            self._refuse_mounts(name)
            self._trash.make()
            self._trash.throw(str(self._root), name)
            self._trash.empty()
        except OSError as error:
            raise KernelError(f"volume {name} cannot be deleted: {error.strerror}", errno=error.errno or 0,
                              stage="remove", path=str(error.filename or self._root / name)) from error
