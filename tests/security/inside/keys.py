"""Runs in a container where keyctl(2) is allowed: whether a key of that name can be found, as JSON.

    python keys.py NAME
"""

import ctypes
import errno
import json
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
SEARCH = 10
KEYRINGS = {"thread": -1, "process": -2, "session": -3}
KEYCTL = {"x86_64": 250, "aarch64": 219}[os.uname().machine]


def search(keyring: int) -> str:
    """The name of the errno, or `found`."""
    name = sys.argv[1].encode()
    answer = libc.syscall(KEYCTL, SEARCH, keyring, ctypes.c_char_p(b"user"), ctypes.c_char_p(name), 0)
    return "found" if answer != -1 else errno.errorcode[ctypes.get_errno()]


json.dump({name: search(number) for name, number in KEYRINGS.items()}, sys.stdout)
