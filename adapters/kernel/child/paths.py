"""Opening what an image can have prepared: by descriptor, looked at, never through a magic link."""

import os
from errno import ELOOP, ENOENT, ENOTDIR

from adapters.kernel import syscalls
from adapters.kernel.syscalls import encode
from domain.errors import CommandFailed, KernelError

HERE = syscalls.AT_FDCWD
MISSING = (ENOENT, ENOTDIR)
KERNEL_FILES = (syscalls.PROC_SUPER_MAGIC, syscalls.SYSFS_MAGIC)
NO_LINKS = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
INSIDE = syscalls.RESOLVE_NO_MAGICLINKS  # the root is the container's: links lead nowhere else



def own_directory(path: str) -> int:
    """A directory of ours; a link in its place would lead our mounts astray, so such an image does not start."""
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return syscalls.openat2(HERE, path, flags, NO_LINKS)
    except KernelError as error:
        if error.errno in (ELOOP, ENOTDIR):
            raise CommandFailed(f"{path} of the image is a link or a file, not a directory", exit_code=125) from error
        if error.errno != ENOENT:
            raise
    os.mkdir(path, 0o755)
    return syscalls.openat2(HERE, path, flags, NO_LINKS)


def directory_inside(path: str) -> tuple[int, bool]:
    """Open a directory of the image, following its links, and make what is missing; whether the last part was made."""
    try:
        return syscalls.openat2(HERE, path, os.O_PATH | os.O_DIRECTORY, INSIDE), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise unusable(path, error.errno) from error
    place, made, done = syscalls.openat2(HERE, "/", os.O_PATH | os.O_DIRECTORY, INSIDE), False, ""
    for part in filter(None, path.split("/")):
        done += f"/{part}"
        following, made = _enter(place, part, done)
        os.close(place)
        place = following
    return place, made


def _enter(place: int, part: str, path: str) -> tuple[int, bool]:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return syscalls.openat2(HERE, path, flags, INSIDE), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise unusable(path, error.errno) from error
    refuse_kernel_files(place, path)
    try:
        os.mkdir(encode(part), 0o755, dir_fd=place)
        return syscalls.openat2(HERE, path, flags, INSIDE), True
    except OSError as error:  # a link that leads nowhere exists and cannot be opened
        raise unusable(path, error.errno or 0) from error
    except KernelError as error:
        raise unusable(path, error.errno) from error


def unusable(path: str, number: int) -> CommandFailed:
    return CommandFailed(f"cannot use {path} of the image: {os.strerror(number)}", exit_code=125)


def refuse_kernel_files(place: int, path: str) -> None:
    if syscalls.fstatfs_type(place) in KERNEL_FILES:
        raise CommandFailed(f"{path} of the image leads into the kernel's file systems", exit_code=125)
