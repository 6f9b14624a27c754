"""Which program has a port of the host, as far as this process may see."""

import os
from pathlib import Path

from domain.text.safe import safe

_LISTENING = "0A"


def holder(protocol: str, port: int) -> str:
    """`4711 nginx`, or nothing."""
    pid = _pid(protocol, port)
    return f"{pid} {_command(f'/proc/{pid}')}" if pid else ""


def lent(protocol: str, port: int) -> bool:
    """Whether a child of ours has it that is not executed yet: a copy of what was closed meanwhile (fork(2)), for a
    moment."""
    pid = _pid(protocol, port)
    try:
        return bool(pid) and int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1]) == os.getpid()
    except (OSError, ValueError, IndexError):  # it has just let go of it
        return True


def _pid(protocol: str, port: int) -> int:
    """The process that has such a socket, 0 if none is seen."""
    inodes = {f"socket:[{inode}]" for inode in _inodes(protocol, port)}
    for name in os.listdir("/proc") if inodes else ():
        if name.isdecimal() and _has(f"/proc/{name}", inodes):
            return int(name)
    return 0


def _inodes(protocol: str, port: int) -> set[str]:
    """Of the sockets with that local port (a listening one for TCP), in the kernel's lists (proc_net_tcp.txt)."""
    found = set()
    for name in (protocol, f"{protocol}6"):
        try:
            lines = Path(f"/proc/net/{name}").read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) == port and (protocol != "tcp" or words[3] == _LISTENING):
                found.add(words[9])
    return found - {"0"}


def _has(process: str, sockets: set[str]) -> bool:
    try:
        for number in os.listdir(f"{process}/fd"):
            if os.readlink(f"{process}/fd/{number}") in sockets:
                return True
    except OSError:  # it has ended, or is not ours to look into
        return False
    return False


def _command(process: str) -> str:
    try:
        return safe(Path(process, "comm").read_text(errors="replace").strip())
    except OSError:
        return "?"
