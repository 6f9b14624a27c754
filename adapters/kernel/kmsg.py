"""Whom the kernel has killed for lack of memory, from its own log: control groups only count (mm/oom_kill.c, 5.1).

    6,1234,5678,-;oom-kill:constraint=CONSTRAINT_MEMCG,…,task_memcg=/lading/3f….1,task=sh,pid=4711,uid=0

Standard library only: the supervisor imports this.
"""

import os
from collections.abc import Iterator
from errno import EINVAL, EPIPE

_RECORD = 8192
_LONGEST_NAME = 64


def victims(group: str) -> list[tuple[int, str]]:
    """(pid, name) of each process of the group at `group` (`/lading/3f….1`), oldest first, as far as the kernel still
    remembers; none where its log may not be read."""
    try:
        fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return []
    try:
        found = (victim(record, group) for record in _records(fd))
        return [each for each in found if each is not None]
    finally:
        os.close(fd)


def _records(fd: int) -> Iterator[bytes]:
    """One read is one record (Documentation/ABI/testing/dev-kmsg)."""
    while True:
        try:
            record = os.read(fd, _RECORD)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in (EPIPE, EINVAL):  # overwritten meanwhile, or longer than the buffer: on to the next
                continue
            return
        if not record:
            return
        yield record


def victim(record: bytes, group: str) -> tuple[int, str] | None:
    """(pid, name) if the record tells of a process of the group. The name is the victim's own choice: what stands
    before it is read from the left, what stands behind it from the right."""
    _, marker, text = record.partition(b";oom-kill:")
    if not marker:
        return None
    _, _, place = text.split(b"\n", 1)[0].partition(f",task_memcg={group}".encode())
    if place[:1] not in (b",", b"/"):
        return None
    _, _, rest = place.partition(b",task=")
    name, _, end = rest.rpartition(b",pid=")
    pid = end.partition(b",")[0]
    if not pid.isdigit():
        return None
    return int(pid), name[:_LONGEST_NAME].decode("utf-8", "replace")
