"""/etc/hosts of a container that runs. Its file lies on the host and is mounted into the container, where everybody may
write to it, and nobody can put another one in its place.

    10.213.0.5<TAB>web              a line that comes and goes with a network
"""

import os
import stat
from pathlib import Path

from domain.errors import KernelError
from domain.network.files import changed_hosts

LARGEST = 1 << 20
"""Bytes: a longer file is somebody's own work, and stays as it is."""


def rewrite(path: Path, gone: frozenset[str], new: tuple[str, ...]) -> None:
    """Take these lines out, put those in, in place: another file would not be the one that is mounted. Twice is fine.

    Raises: KernelError when that cannot be done; then the file is as it was.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _failed(path, error) from error
    try:
        state = os.fstat(file)
        if not stat.S_ISREG(state.st_mode) or state.st_size > LARGEST:
            raise KernelError(f"{path} is no file of at most {LARGEST} bytes", stage="open", path=str(path))
        before = os.pread(file, LARGEST, 0)
        after = changed_hosts(os.fsdecode(before), gone, new).encode("utf-8", "surrogateescape")
        if after != before:
            os.pwrite(file, after, 0)
            os.ftruncate(file, len(after))
    except OSError as error:
        raise _failed(path, error) from error
    finally:
        os.close(file)


def _failed(path: Path, error: OSError) -> KernelError:
    return KernelError(f"{path}: {error.strerror}", errno=error.errno or 0, stage="write", path=str(path))
