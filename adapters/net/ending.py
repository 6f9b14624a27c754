"""The end of the network process, asked for by who is no driver: the program that leaves a machine as it was."""

import json
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from adapters.net import foreign, wire
from adapters.net.driver import lingers, link_group, table_name

_SECONDS = 30


def clean_networks(run_dir: Path, data_root: Path, command: Sequence[str]) -> None:
    """Take everything of networks away, also what a killed process has left: then `command` starts another one for it.
    Raises: Refused while containers run on networks."""
    if lingers(run_dir):
        group = str(link_group(data_root))
        subprocess.run([*command, str(run_dir), table_name(data_root), group, foreign.OPEN], check=True,
                       timeout=_SECONDS, env={}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end_network(run_dir, clean=True, idle=True)


def end_network(run_dir: Path, *, clean: bool, idle: bool = False) -> None:
    """End the process of a run directory, if there is one; with `clean` nothing of its work stays, unless it is to be
    `idle` and is not. Returns when it is gone. Raises: Refused."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(_SECONDS)
        try:
            line.connect(str(wire.socket_path(run_dir)))
        except (FileNotFoundError, ConnectionRefusedError):
            return
        said = b""
        with suppress(OSError):
            line.sendall(wire.pack({"n": 1, "op": "clean" if clean else "end", "idle": idle}))
            while not (said.endswith(b"\n") and b'"error"' in said) and (more := line.recv(4096)):
                said += more
    answer = json.loads(said) if said.endswith(b"\n") else {}
    if "error" in answer:
        raise wire.as_error(answer["error"])
