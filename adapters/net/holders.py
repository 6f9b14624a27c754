"""Which program has a port of the host, as far as this process may see."""

import os
from pathlib import Path

from domain.text.safe import safe

_LISTENING = "0A"


def holder(protocol: str, port: int) -> str:
    """`4711 (nginx)`, or nothing."""
    inodes = {f"socket:[{inode}]" for inode in _inodes(protocol, port)}
    if not inodes:
        return ""
    for process in os.scandir("/proc"):
        if process.name.isdecimal() and _has(process.path, inodes):
            return f"{process.name} ({_command(process.path)})"
    return ""


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
        for entry in os.scandir(f"{process}/fd"):
            if os.readlink(entry.path) in sockets:
                return True
    except OSError:  # it has ended, or is not ours to look into
        return False
    return False


def _command(process: str) -> str:
    try:
        return safe(Path(process, "comm").read_text(errors="replace").strip())
    except OSError:
        return "?"
