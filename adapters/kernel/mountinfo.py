"""What is mounted where, as /proc/self/mountinfo says it (proc(5))."""

from collections.abc import Iterator
from dataclasses import dataclass

_ESCAPES = (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\"))


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One mount: where it is, and whether what is mounted below it appears at its peers as well."""

    point: str
    shared: bool


def read() -> Iterator[MountPoint]:
    """All mounts of this process's namespace, in the order in which they were made."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            before, _, _ = line.partition(" - ")
            fields = before.split(" ")
            yield MountPoint(_plain(fields[4]), any(field.startswith("shared:") for field in fields[6:]))


def contains(point: str, path: str) -> bool:
    """Whether a clean absolute path lies at or below the place of a mount."""
    return point == "/" or path == point or path.startswith(f"{point}/")


def _plain(text: str) -> str:
    for escape, character in _ESCAPES:
        text = text.replace(escape, character)
    return text
