"""Two system calls for tests that let the kernel merge layers."""

import ctypes
import os
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)


def mount(kind: str, target: Path, options: str) -> None:
    """See mount(2)."""
    if _libc.mount(kind.encode(), str(target).encode(), kind.encode(), 0, options.encode()) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))


def umount(target: Path) -> None:
    """See umount2(2)."""
    if _libc.umount2(str(target).encode(), 0) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(target))
