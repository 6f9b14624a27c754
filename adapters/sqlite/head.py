"""The head of the chain outside the database: `<data root>/state/head`, so that a cut tail is noticed.

    1042 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08

It is written some time after the commit, so it may be behind the log but never ahead of it.
"""

import os
from pathlib import Path

from domain.chain import GENESIS, Head
from domain.errors import StorageError


class HeadFile:
    """Reads and replaces the file."""

    def __init__(self, root: Path) -> None:
        self.path = root / "state" / "head"
        self._written = Head()

    def read(self) -> Head:
        """What was kept; the empty head if there is none. Raises: StorageError for a file that makes no sense."""
        try:
            text = self.path.read_text(encoding="ascii")
        except FileNotFoundError:
            return Head()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unreadable() from error
        try:
            position, hash = text.split()
            head = Head(int(position), bytes.fromhex(hash))
        except ValueError as error:
            raise self._unreadable() from error
        if head.position < 1 or len(head.hash) != len(GENESIS):
            raise self._unreadable()
        return head

    def write(self, head: Head) -> None:
        """Replace the file, unless it says so already. Not flushed: an old head is as good after a power cut."""
        if head == self._written or not head.position:
            return
        fresh = self.path.with_name("head.new")
        try:
            self.path.parent.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(descriptor, f"{head.position} {head.hash.hex()}\n".encode())
            finally:
                os.close(descriptor)
            fresh.replace(self.path)
        except OSError:
            return  # a full disk: the next attempt comes with the next event
        self._written = head

    def _unreadable(self) -> StorageError:
        return StorageError(
            f"{self.path} does not hold the head of a log", hint="delete it to go on with what the log holds"
        )
