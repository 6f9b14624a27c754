"""The end of the network process, asked for by who is no driver: the program that leaves a machine as it was."""

import socket
from contextlib import suppress
from pathlib import Path

from adapters.net import wire

_SECONDS = 30


def end_network(run_dir: Path, *, clean: bool) -> None:
    """End the process of a run directory, if there is one; with `clean` nothing of its work stays. Returns when it is
    gone."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_SECONDS)
        try:
            line.connect(str(wire.socket_path(run_dir)))
        except (FileNotFoundError, ConnectionRefusedError):
            return
        with suppress(OSError):
            line.sendall(wire.pack({"n": 1, "op": "clean" if clean else "end"}))
            while line.recv(4096):
                pass
