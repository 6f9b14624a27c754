"""Runs as the first process of a container: what it has got from whoever started it, as JSON."""

import ctypes
import json
import os
import sys

libc = ctypes.CDLL(None)
PDEATHSIG, DUMPABLE, KEEPCAPS, SECUREBITS, SUBREAPER, NO_NEW_PRIVS = 2, 3, 7, 27, 37, 39


def asked(option: int, by_pointer: bool = False) -> int:
    """What prctl(2) answers, directly or where the argument points."""
    place = ctypes.c_int(-1)
    answer = libc.prctl(option, ctypes.byref(place) if by_pointer else 0, 0, 0, 0)
    return place.value if by_pointer else int(answer)


mask = os.umask(0)
json.dump({
    "pid": os.getpid(), "session": os.getsid(0), "group": os.getpgid(0), "cwd": os.getcwd(), "umask": mask,
    "ids": [*os.getresuid(), *os.getresgid()], "groups": os.getgroups(), "nice": os.getpriority(os.PRIO_PROCESS, 0),
    "policy": os.sched_getscheduler(0), "parent_death_signal": asked(PDEATHSIG, True),
    "subreaper": asked(SUBREAPER, True), "dumpable": asked(DUMPABLE), "keepcaps": asked(KEEPCAPS),
    "securebits": asked(SECUREBITS), "no_new_privs": asked(NO_NEW_PRIVS), "personality": libc.personality(0xFFFFFFFF),
}, sys.stdout)
