"""How descriptors travel between keeper and warden, and what the keeper knows about them: nothing.

One message (SOCK_SEQPACKET) is a letter, fields separated by NUL, and descriptors:

    H key NUL names NUL note   hold these instead of what you held for `key` (names: comma-separated, one a descriptor)
    D key                      drop it
    S pid NUL status           (keeper → warden) this child was reaped; repeated until
    F pid                      (warden → keeper) forget that status
    E                          (keeper → warden) that was all
    Q                          (warden → keeper) the end: do not start me again

When a warden takes over the keeper's role, the same records without descriptors lie in a memfd, a line each, with the
names as `name=number`.

The keeper imports this, so it keeps clear of `typing` and `re` (a megabyte).
"""

import array
import os
from _socket import MSG_CMSG_CLOEXEC, SCM_RIGHTS, SOL_SOCKET, socket

HOLD, DROP, STATUS, FORGET, END, QUIT = b"H", b"D", b"S", b"F", b"E", b"Q"

_MOST_FDS = 32
_LONGEST = 1 << 16


class Held:
    """What is held for one key: a note nobody but the warden reads, and named descriptors."""

    __slots__ = ("fds", "note")

    def __init__(self, note: bytes, fds: dict[str, int]) -> None:
        self.note = note
        self.fds = fds


class Parcel:
    """A message as it came: `fields` without the letter; the descriptors belong to the receiver."""

    __slots__ = ("fds", "fields", "letter")

    def __init__(self, letter: bytes, fields: list[bytes], fds: list[int]) -> None:
        self.letter = letter
        self.fields = fields
        self.fds = fds


def send(channel: socket, letter: bytes, *fields: bytes, fds: "list[int] | tuple[int, ...]" = ()) -> None:
    """One message; raises OSError when the other side is gone."""
    rights = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
    channel.sendmsg([letter + b"\0".join(fields)], rights)


def send_held(channel: socket, key: bytes, held: Held) -> None:
    """Hand over what is held for one key."""
    send(channel, HOLD, key, ",".join(held.fds).encode(), held.note, fds=list(held.fds.values()))


def receive(channel: socket) -> Parcel | None:
    """The next message, None when the other side is gone; BlockingIOError when none is waiting."""
    while True:
        try:
            data, ancillary, _, _ = channel.recvmsg(_LONGEST, 4 * _MOST_FDS + 64, MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            continue  # the peer died without having read all: what it had sent is still to come (unix_release_sock)
        break
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[:len(content) - len(content) % fds.itemsize])
    if not data:
        close(fds.tolist())
        return None
    return Parcel(data[:1], data[1:].split(b"\0"), fds.tolist())


def held(parcel: Parcel) -> tuple[bytes, Held]:
    """(key, what is held) of a HOLD message."""
    key, names, note = parcel.fields
    return key, Held(note, dict(zip(filter(None, names.decode().split(",")), parcel.fds, strict=True)))


def close(fds: "list[int] | tuple[int, ...]") -> None:
    """Close them all."""
    for fd in fds:
        os.close(fd)


def write_state(entries: dict[bytes, Held]) -> int:
    """A memfd with all entries, for the program that this process is about to become."""
    fd = os.memfd_create("lading-held", os.MFD_CLOEXEC)
    lines = (b"\0".join((key, ",".join(f"{name}={number}" for name, number in held.fds.items()).encode(), held.note))
             for key, held in entries.items())
    with os.fdopen(os.dup(fd), "wb") as file:
        file.writelines(line + b"\n" for line in lines)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def read_state(fd: int) -> dict[bytes, Held]:
    """The entries of `write_state`; closes the descriptor."""
    entries = {}
    with os.fdopen(fd, "rb") as file:
        for line in file:
            key, names, note = line.rstrip(b"\n").split(b"\0")
            pairs = (pair.partition("=") for pair in names.decode().split(",") if pair)
            entries[key] = Held(note, {name: int(number) for name, _, number in pairs})
    return entries
