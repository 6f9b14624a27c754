"""What the daemon and the network process say to each other: lines of JSON over a unix socket, any number under way.

    → {"n": 7, "op": "open", "sandbox": {"id": "3f…", "attempt": 1, "endpoints": […], …}}
    ← {"re": 7, "path": "/proc/4711/fd/12", "inode": 4026532601}
    ← {"re": 8, "error": {"kind": "Refused", "message": "host port 80/tcp on 0.0.0.0 is …", "hint": ""}}
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from domain import errors
from domain.errors import KernelError, LadingError, Unavailable
from domain.network.ports import Binding, Publication
from domain.network.setup import Bridge, Sandbox
from domain.network.zones import Zone
from domain.ports.network import Surroundings

PROTOCOL = 3
"""Raised with every change of what is said: a process that speaks another one is replaced."""
LONGEST_LINE = 64 << 20
Message = dict[str, Any]

BRIDGE, SANDBOX = TypeAdapter(Bridge), TypeAdapter(Sandbox)
BRIDGES, SANDBOXES = TypeAdapter(tuple[Bridge, ...]), TypeAdapter(dict[int, Sandbox])
BINDINGS, PUBLICATIONS = TypeAdapter(tuple[Binding, ...]), TypeAdapter(tuple[Publication, ...])
PREFERRED = TypeAdapter(tuple[tuple[Publication, int], ...])
ZONES, SURROUNDINGS = TypeAdapter(dict[str, Zone]), TypeAdapter(Surroundings)


def socket_path(run_dir: Path) -> Path:
    """Where the process listens."""
    return run_dir / "net.sock"


def lock_path(run_dir: Path) -> Path:
    """Locked as long as there is a process."""
    return run_dir / "net.lock"


def pack(message: Mapping[str, object]) -> bytes:
    """One line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


def packed_error(error: LadingError) -> Message:
    """An error as it travels."""
    found: Message = {"kind": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, KernelError):
        found |= {"errno": error.errno, "stage": error.stage, "path": error.path}
    return found


def as_error(packed: Message) -> LadingError:
    """The error again, of the same class."""
    message, hint = str(packed["message"]), str(packed["hint"])
    if packed["kind"] == "KernelError":
        return KernelError(message, errno=packed["errno"], stage=packed["stage"], path=packed["path"], hint=hint)
    kind = getattr(errors, str(packed["kind"]), Unavailable)
    return kind(message, hint=hint) if issubclass(kind, LadingError) else Unavailable(message)
