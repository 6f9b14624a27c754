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


def directory_inside(path: str, top: int = HERE) -> tuple[int, bool]:
    """Open a directory of the image, following its links, and make what is missing; whether the last part was made.
    The root of the image is `top`, or ours."""
    try:
        return _open(top, path, os.O_PATH | os.O_DIRECTORY), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise unusable(path, error.errno) from error
    place, made, done = _open(top, "/", os.O_PATH | os.O_DIRECTORY), False, ""
    for part in filter(None, path.split("/")):
        done += f"/{part}"
        following, made = _enter(top, place, part, done)
        os.close(place)
        place = following
    return place, made


def _enter(top: int, place: int, part: str, path: str) -> tuple[int, bool]:
    flags = os.O_PATH | os.O_DIRECTORY
    try:
        return _open(top, path, flags), False
    except KernelError as error:
        if error.errno != ENOENT:
            raise unusable(path, error.errno) from error
    refuse_kernel_files(place, path)
    try:
        os.mkdir(encode(part), 0o755, dir_fd=place)
        return _open(top, path, flags), True
    except OSError as error:  # a link that leads nowhere exists and cannot be opened
        raise unusable(path, error.errno or 0) from error
    except KernelError as error:
        raise unusable(path, error.errno) from error


def _open(top: int, path: str, flags: int) -> int:
    return syscalls.openat2(top, path, flags, INSIDE if top == HERE else INSIDE | syscalls.RESOLVE_IN_ROOT)


def place_for(target: str, *, directory: bool, top: int = HERE) -> int:
    """Something of that kind at `target` of the image, made if it is missing."""
    if directory:
        return directory_inside(target, top)[0]
    try:
        return _open(top, target, os.O_PATH)
    except KernelError as error:
        if error.errno != ENOENT:
            raise unusable(target, error.errno) from error
    parent, _, leaf = target.rpartition("/")
    above, _ = directory_inside(parent or "/", top)
    try:
        refuse_kernel_files(above, target)
        return file_in(above, leaf)
    finally:
        os.close(above)


def file_in(directory: int, leaf: str) -> int:
    """A file (or the link itself) of a directory, made if it is missing."""
    flags = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        return os.open(leaf, flags, dir_fd=directory)
    except FileNotFoundError:
        os.close(os.open(leaf, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=directory))
        return os.open(leaf, flags, dir_fd=directory)


def unusable(path: str, number: int) -> CommandFailed:
    return CommandFailed(f"cannot use {path} of the image: {os.strerror(number)}", exit_code=125)


def refuse_kernel_files(place: int, path: str) -> None:
    if syscalls.fstatfs_type(place) in KERNEL_FILES:
        raise CommandFailed(f"{path} of the image leads into the kernel's file systems", exit_code=125)
