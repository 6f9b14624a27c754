"""Runs in a container that shares the host's network: how far it gets towards the engine, as JSON.

    python network.py '["/run/lading/lading.sock", …]' '["engine", "daemon", …]'
"""

import contextlib
import errno
import json
import socket
import sys


def why(kind: int, family: int, protocol: int) -> str:
    """Why such a socket is not to be had; `ok` if it is."""
    try:
        socket.socket(family, kind, protocol).close()
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "ok"


def reaches(path: str) -> bool:
    """Whether somebody listens at that unix socket."""
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(path)
        except OSError:
            return False
        return True


def ports() -> list[int]:
    """Who listens on TCP, from the kernel's own list."""
    with open("/proc/net/tcp") as lines:
        rows = [line.split() for line in lines][1:]
    return sorted({int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A"})


def greeting(port: int) -> str:
    """What a listener says first; empty for none that greets like the bus."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.settimeout(1)
        line = connection.recv(4096).decode(errors="replace")
        return line if line.startswith("INFO") else ""
    return ""


def answer(port: int, words: dict[str, str]) -> str:
    """What the bus says to somebody who logs in like this and wants to hear everything."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.settimeout(2)
        connection.recv(4096)
        connection.sendall(b"CONNECT %s\r\nSUB > 1\r\nPING\r\n" % json.dumps({"verbose": False, **words}).encode())
        return connection.recv(200).decode(errors="replace")
    return "cut"


users = json.loads(sys.argv[2])
buses = {port: greeting(port) for port in ports()}
raw = {f"{family}.{protocol}": why(socket.SOCK_RAW, family, protocol) for family, protocol in (
    (socket.AF_PACKET, socket.htons(3)), (socket.AF_INET, socket.IPPROTO_TCP), (socket.AF_INET, socket.IPPROTO_ICMP),
    (socket.AF_INET6, socket.IPPROTO_TCP))}
packet = why(socket.SOCK_DGRAM, socket.AF_PACKET, socket.htons(3))
with open("/proc/net/unix") as lines:
    abstract = [words[7] for words in map(str.split, lines) if len(words) > 7 and words[7].startswith("@")]
json.dump({
    "raw": raw, "packet": packet, "abstract": abstract,
    "unix": [path for path in json.loads(sys.argv[1]) if reaches(path)],
    "buses": {port: [answer(port, words) for words in (
        {}, {"auth_token": "x"}, *({"user": user, "pass": word} for user in users for word in ("", user)))]
        for port, said in buses.items() if said},
}, sys.stdout)
