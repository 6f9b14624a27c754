"""A daemon on another host, over its bus: the same call, under the name of a user of that NATS server.

    lading -H nats://ann@bus.example:4222/mill ps       the daemon that calls itself `mill` on that bus
    LADING_HOST=tls://ann@bus.example/mill lading ps    the same, encrypted

The password comes from LADING_PASSWORD, or stands in the URL (`ann:word@`), where others can read it. Who may ask what
is the server's to say; the daemon records the user's name with everything it does.
"""

import json
import os
import socket
import ssl
from urllib.parse import unquote, urlsplit

from adapters.cli.main import Failed, Line

_PORT = 4222
_PATIENCE = 10.0
_LONGEST_LINE = 65536
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-:")


class _Encrypted(Line):
    """What has come lies partly in the library, where poll(2) does not see it: so all of it is taken at once."""

    def fill(self) -> None:
        """See `Line`."""
        super().fill()
        while self.connection.pending():  # type: ignore[attr-defined]
            super().fill()


def line(url: str, status: int) -> Line:
    """A connection that is logged in. Raises Failed."""
    try:
        parts = urlsplit(url)
        user, server, port = unquote(parts.username or ""), parts.hostname or "", parts.port or _PORT
    except ValueError as error:
        raise Failed(f"the address {url} is not valid: {error}", status) from error
    host = unquote(parts.path.removeprefix("/"))
    if not (user and server and host) or not _PLAIN.issuperset(user.encode()) or "/" in host:
        raise Failed("the address of a daemon on another host must be nats://USER@SERVER[:PORT]/HOST", status)
    password = unquote(parts.password) if parts.password is not None else os.environ.get("LADING_PASSWORD", "")
    try:
        connection = _logged_in(server, port, user, password, encrypted=parts.scheme == "tls")
    except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or str(error)
        raise Failed(f"Cannot connect to the bus at {server}:{port}: {reason}", status) from error
    session = os.urandom(8).hex().encode()
    who = user.encode()
    kind = _Encrypted if isinstance(connection, ssl.SSLSocket) else Line
    return kind(connection, _token(host), who, session, b"SUB _INBOX.%b.%b 1\r\n" % (who, session))


def _logged_in(server: str, port: int, user: str, password: str, *, encrypted: bool) -> socket.socket:
    """Raises OSError, ValueError."""
    connection = socket.create_connection((server, port), _PATIENCE)
    try:
        greeting = json.loads(_line(connection).removeprefix(b"INFO "))
        if encrypted:
            connection = ssl.create_default_context().wrap_socket(connection, server_hostname=server)
        elif greeting.get("tls_required"):
            raise ValueError("it wants to be spoken to with tls://")
        options = {"user": user, "pass": password, "name": "lading", "lang": "lading", "version": "1", "protocol": 1,
                   "verbose": False, "pedantic": False, "headers": True, "no_responders": True}
        connection.sendall(b"CONNECT " + json.dumps(options).encode() + b"\r\nPING\r\n")
        while (answer := _line(connection)) != b"PONG":
            if answer.startswith(b"-ERR"):
                raise ValueError(answer[4:].decode("utf-8", "replace").strip(" '"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.settimeout(None)
    except BaseException:
        connection.close()
        raise
    return connection


def _line(connection: socket.socket) -> bytes:
    """One line, byte by byte: what follows it belongs to somebody else. Raises OSError."""
    heard = b""
    while not heard.endswith(b"\r\n"):
        byte = connection.recv(1)
        if not byte or len(heard) > _LONGEST_LINE:
            raise ConnectionResetError("it hung up")
        heard += byte
    return heard[:-2]


def _token(name: str) -> bytes:
    """The name as one word of a subject, as `domain.subjects.escape` writes it."""
    return b"".join(bytes((b,)) if b in _PLAIN else b"=%02X" % b for b in name.encode("utf-8", "surrogateescape"))
