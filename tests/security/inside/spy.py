"""Runs as the first process of a container and looks, until it is told to stop, into every other process it can see.

    python spy.py        tells as JSON {"looks": {name: how often}, "found": {what: [values]}}

It writes `ready` to /ready and stops when /stop exists. `name` is what /proc/N/comm says at the time of the look.
"""

import json
import os
import sys

looks: dict[str, int] = {}
found: dict[str, set[str]] = {}
mine = os.getpid()


def read(path: str) -> str | None:
    """The content of a small file, None if it does not open."""
    try:
        fd = os.open(path, os.O_RDONLY)
    except OSError:
        return None
    try:
        return os.read(fd, 65536).decode(errors="replace")
    except OSError:
        return None
    finally:
        os.close(fd)


def link(path: str) -> str | None:
    """Where a magic link leads, None if it is not told."""
    try:
        return os.readlink(path)
    except OSError:
        return None


def note(what: str, value: str | None) -> None:
    """One finding."""
    if value:
        found.setdefault(what, set()).add(value)


def look(pid: int) -> None:
    """Everything by which one process could learn of another, or get hold of it."""
    name = (read(f"/proc/{pid}/comm") or "").strip()
    looks[name] = looks.get(name, 0) + 1
    for what in ("exe", "cwd", "root"):
        note(what, link(f"/proc/{pid}/{what}"))
    note("environ", read(f"/proc/{pid}/environ"))
    for line in (read(f"/proc/{pid}/maps") or "").splitlines():
        note("maps", line.split(None, 5)[5] if len(line.split(None, 5)) > 5 else "")
    for number in range(3, 24):
        note("fd", link(f"/proc/{pid}/fd/{number}"))
    # The init of a container is the container's own: with the host's processes others of them can be seen, too.
    for what in ("mem", "exe") if name.startswith("lading") and name != "lading-init" else ():
        try:
            os.close(os.open(f"/proc/{pid}/{what}", os.O_RDWR))
        except OSError:
            continue
        if (read(f"/proc/{pid}/comm") or "").startswith("lading"):  # else it has become a program of ours meanwhile
            note("opened", f"{name}/{what}")


with open("/ready", "w") as file:
    file.write("ready")
while not os.path.exists("/stop"):
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != mine:
            look(int(entry))
json.dump({"looks": looks, "found": {what: sorted(values) for what, values in found.items()}}, sys.stdout)
