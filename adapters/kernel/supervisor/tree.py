"""The daemon's way to the supervisor tree: start it if there is none, end it.

Blocking; the daemon calls it in a thread. It never forks: `subprocess` uses vfork, and the first stage cuts all ties.
"""

import hashlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from adapters.kernel.supervisor import interpreter, wire
from adapters.kernel.supervisor.launch import ERROR_LOG, SOCKET_NAME
from adapters.kernel.supervisor.wire import Message
from domain.errors import InUse, Unavailable

_PATIENCE = 10.0
_PAUSE = 0.02
_LAUNCH_AGAIN = 1.0


def group_root(data_root: Path) -> str:
    """The name below which all control groups of this data root lie: engines side by side never meet."""
    return "lading-" + hashlib.sha256(os.fsencode(data_root.resolve())).hexdigest()[:8]


def ensure_warden(run_dir: Path, data_root: Path, *, failpoints: str = "") -> bool:
    """A warden answers on the socket when this returns; True if a new tree had to be built. One of an older version is
    replaced: containers do not notice. Raises: Unavailable."""
    hello = _hello(run_dir)
    if hello is not None:
        if hello["protocol"] < wire.PROTOCOL and _is_of_this_installation(hello["pid"]):
            _replace(run_dir, hello["pid"])
        return False
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        _launch(run_dir, data_root, failpoints)  # again: a former tree that was ending may have had the lock
        if _answers(run_dir, min(deadline, time.monotonic() + _LAUNCH_AGAIN)):
            return True
    raise Unavailable(f"the supervisor does not answer on {run_dir / SOCKET_NAME}",
                      hint=f"its last words are in {data_root / 'state' / ERROR_LOG}")


def _is_of_this_installation(pid: int) -> bool:
    """Whether the keeper would start our code as the next warden: it starts what is at the path it was started from."""
    try:
        argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return os.fsencode(interpreter.command("warden")[3]) in argv


def _replace(run_dir: Path, pid: int) -> None:
    """End a warden; the keeper starts the next one and gives it everything."""
    pidfd = os.pidfd_open(pid)
    try:
        if (hello := _hello(run_dir)) is not None and hello["pid"] == pid:  # the number was not given again
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    _answers(run_dir, time.monotonic() + _PATIENCE)


def _answers(run_dir: Path, deadline: float) -> bool:
    while _hello(run_dir) is None:
        if time.monotonic() > deadline:
            return False
        time.sleep(_PAUSE)
    return True


def stop_warden(run_dir: Path, *, kill: bool = False, timeout: float = 30.0) -> bool:
    """End zygote, warden and keeper; False if none ran. Raises: InUse while containers run, unless `kill`."""
    reply = _ask(run_dir, {"op": "shutdown", "kill": kill}, timeout)
    if reply is None:
        return False
    if "error" in reply:
        raise InUse(f"the supervisor stays: {reply['error']['text']}")
    deadline = time.monotonic() + timeout
    while (run_dir / SOCKET_NAME).exists():
        if time.monotonic() > deadline:
            raise Unavailable(f"the supervisor has not ended within {timeout:g} seconds")
        time.sleep(_PAUSE)
    return True


def _launch(run_dir: Path, data_root: Path, failpoints: str) -> None:
    arguments = {"data": data_root.resolve(), "run": run_dir.resolve(), "root": group_root(data_root),
                 "failpoints": failpoints}
    argv = interpreter.command("launch", *(f"{name}={value}" for name, value in arguments.items()))
    stage = subprocess.run(argv, env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, start_new_session=True, check=False)
    if stage.returncode:
        reason = stage.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise Unavailable(f"the supervisor could not be started: {reason}")


def _hello(run_dir: Path) -> Message | None:
    return _ask(run_dir, {"op": "hello"}, _PATIENCE)


def _ask(run_dir: Path, request: Message, timeout: float) -> Message | None:
    """One question on a connection of its own; None if nobody answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(str(run_dir / SOCKET_NAME))
            connection.sendall(wire.pack({"n": 0, **request}))
            splitter = wire.Splitter()
            while data := connection.recv(1 << 16):
                for message in splitter.feed(data):
                    if message.get("re") == 0:
                        return message
        except OSError:
            return None
    return None
