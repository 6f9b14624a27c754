"""Packs a tree as a client does."""

import os
from collections.abc import Callable
from pathlib import Path

from adapters.tar.pack import Packer, Sink
from adapters.tar.unchanged import Spared


def packed(
    place: Path, leaf: str = ".", name: str = ".", *, fine: bool = False, judge: Callable[[bytes], int] | None = None,
    spared: Spared | None = None,
) -> bytes:
    """The archive of what is called `leaf` in `place`."""
    pieces: list[bytes] = []
    fd = os.open(place, os.O_PATH)
    try:
        packer = Packer(Sink(pieces.append), fine=fine, judge=judge, spared=spared)
        packer.add(fd, leaf.encode(), name.encode())
        packer.end()
    finally:
        os.close(fd)
    return b"".join(pieces)
