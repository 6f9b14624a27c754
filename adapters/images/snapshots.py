"""The writable layer of a container, `containers/<id>/{upper,work}` for an overlay: made, measured and deleted."""

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from adapters.images import trees

UPPER, WORK = "upper", "work"


def create(container: Path, layers: Sequence[Path]) -> tuple[Path, Path]:
    """Make the two directories, `layers` lowest first; the root of the image decides owner and mode of the new root.

    Twice is fine. Gives back upper and work.
    """
    upper, work = container / UPPER, container / WORK
    container.mkdir(mode=0o700, parents=True, exist_ok=True)
    work.mkdir(mode=0o700, exist_ok=True)
    if not upper.exists():
        upper.mkdir(mode=0o755)
        status = os.stat(layers[-1]) if layers else None
        os.chown(upper, status.st_uid if status else 0, status.st_gid if status else 0)
        os.chmod(upper, stat.S_IMODE(status.st_mode) if status else 0o755)
    return upper, work


def size(container: Path) -> int:
    """Apparent bytes of what the container has written, as `ps -s` shows it; 0 when there is nothing."""
    try:
        fd = os.open(container / UPPER, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        return trees.apparent_size(fd)
    finally:
        os.close(fd)


def delete(container: Path) -> None:
    """Delete the container's directory and all in it; no error when it is not there."""
    trees.delete_path(str(container))
