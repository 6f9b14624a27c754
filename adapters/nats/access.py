"""How one role reaches the bus, and the files that hold it.

    {"url": "nats://127.0.0.1:40123", "user": "daemon", "password": "…"}

Such a file is 0600 in a 0700 directory; a password is never on a command line, in an environment or in a log line. For
an external server an operator writes one file with all roles: `{"daemon": {"user": …, "password": …}, "proxy": …}`.
"""

import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from domain.errors import InvalidValue, Unavailable


@dataclass(frozen=True, slots=True)
class Access:
    """Address and credentials; `server_name` is what the server must say of itself before it gets to see the password
    (empty: whoever answers, as for an external server)."""

    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    tls: bool = False
    server_name: str = ""

    @property
    def url(self) -> str:
        """The address without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'tls' if self.tls else 'nats'}://{host}:{self.port}"


class ExternalServer:
    """A nats-server that somebody else runs: nothing to start or stop, the same `locate` as the embedded one."""

    def __init__(self, url: str, credentials: Path | None = None) -> None:
        self._host, self._port, self._tls = _address(url)
        self._roles = _roles(credentials) if credentials is not None else {}

    async def start(self) -> None:
        """Nothing to start."""

    async def stop(self) -> None:
        """Nothing to stop."""

    async def locate(self, role: str) -> Access:
        """How `role` reaches the server; a role without an entry is served as the daemon."""
        user, password = self._roles.get(role) or self._roles.get("daemon") or ("", "")
        return Access(self._host, self._port, user, password, self._tls)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file that only its owner can read, never half written and never readable in between."""
    unfinished = path.with_name(f".{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    unfinished.rename(path)


def write_access(path: Path, access: Access) -> None:
    """Leave `access` for a program that runs as the same user."""
    write_private(path, json.dumps({"url": access.url, "user": access.user, "password": access.password}) + "\n")


def read_access(path: Path) -> Access:
    """What `write_access` left. Raises Unavailable, InvalidValue."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    try:
        entry = json.loads(text)
        host, port, tls = _address(entry["url"])
        return Access(host, port, str(entry["user"]), str(entry["password"]), tls)
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidValue(f"{path} does not hold an access to the bus") from error


def _address(url: str) -> tuple[str, int, bool]:
    parts = urlsplit(url)
    try:
        port = parts.port or 4222
    except ValueError as error:
        raise InvalidValue(f"{url!r} has no valid port") from error
    if parts.scheme not in ("nats", "tls") or not parts.hostname:
        raise InvalidValue(f"{parts.scheme or 'the address'} is not a bus address",
                           hint="write nats://HOST:PORT or tls://HOST:PORT")
    if parts.username or parts.password:
        raise InvalidValue("the address of the bus may not hold credentials",
                           hint="others can read addresses; put user and password in the credentials file")
    return parts.hostname, port, parts.scheme == "tls"


def _roles(path: Path) -> dict[str, tuple[str, str]]:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise InvalidValue(f"{path} can be read by others (mode {mode:04o})", hint=f"chmod 600 {path}")
    try:
        return {role: (str(entry["user"]), str(entry["password"])) for role, entry in json.loads(text).items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidValue(f"{path} does not hold users and passwords of roles") from error
