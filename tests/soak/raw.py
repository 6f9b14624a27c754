"""Clients of the API without a library: requests that come in nasty pieces, ends that come at once."""

import base64
import http.client
import json
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from random import Random

from tests.soak.world import Fault, Tool, World, content, cut, place, run, sequence, shown

_SECONDS = 60.0


class Raw:
    """One connection to the API."""

    def __init__(self, world: World) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(_SECONDS)
        self.socket.connect(str(world.gateway))
        self._heard = bytearray()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def send(self, chance: Random, *pieces: bytes) -> None:
        """In one segment, or cut anywhere."""
        data = b"".join(pieces)
        if chance.random() < 0.5:
            self.socket.sendall(data)
            return
        at = 0
        while at < len(data):
            size = chance.choice((1, 2, 16, 100, 65536, 1 << 20))
            self.socket.sendall(data[at:at + size])
            at += size
            if chance.random() < 0.2:
                time.sleep(0.002)

    def head(self) -> int:
        """The status of the next answer; what follows its head is kept."""
        while (end := self._heard.find(b"\r\n\r\n")) < 0:
            self._more()
        status = int(self._heard.split(b" ", 2)[1])
        del self._heard[:end + 4]
        return status

    def _more(self) -> None:
        data = self.socket.recv(65536)
        if not data:
            raise Fault(f"hung up after {shown(bytes(self._heard))}")
        self._heard += data

    def rest(self) -> bytes:
        """To the end of the connection."""
        while data := self.socket.recv(1 << 16):
            self._heard += data
        return bytes(self._heard)

    def until(self, text: bytes) -> None:
        """Heard somewhere."""
        while text not in self._heard:
            self._more()


def ask(world: World, method: str, target: str, body: object = None) -> dict[str, object]:
    """A whole request of its own; its document. Raises: Fault."""
    connection = http.client.HTTPConnection("engine", timeout=_SECONDS)
    with closing(connection):
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(_SECONDS)
        connection.sock.connect(str(world.gateway))
        text = None if body is None else json.dumps(body)
        connection.request(method, target, text, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        data = answer.read()
        if answer.status >= 400:
            raise Fault(f"{method} {target}: {answer.status} {data!r}")
        found: dict[str, object] = json.loads(data) if data.strip() else {}
        return found


@contextmanager
def made(world: World, *command: str, tty: bool = False, once: bool = True) -> Iterator[str]:
    """A container with an input, that is not started; it is removed afterwards."""
    spec = {"Image": "busybox", "Cmd": command, "OpenStdin": True, "StdinOnce": once, "AttachStdin": True,
            "AttachStdout": True, "AttachStderr": True, "Tty": tty}
    id = str(ask(world, "POST", "/containers/create", spec)["Id"])
    try:
        yield id
    except TimeoutError as error:
        state, out = ask(world, "GET", f"/containers/{id}/json")["State"], run(world.lading, "logs", id).out
        raise Fault(f"hangs{place(error)}: {state}, {shown(out)}") from error
    finally:
        ask(world, "DELETE", f"/containers/{id}?force=1")


def request(method: str, target: str, body: bytes = b"", *, upgrade: bool = True) -> bytes:
    """As it travels."""
    lines = [f"{method} {target} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += ["Content-Type: application/json"] if body else []
    lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else []
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def frames(data: bytes) -> tuple[bytes, bytes]:
    """Both outputs of a multiplexed stream."""
    found, at = {1: b"", 2: b""}, 0
    while at < len(data):
        kind, size = struct.unpack(">BxxxI", data[at:at + 8])
        if len(data) < at + 8 + size:
            raise Fault("the last frame is not whole")
        found[kind] += data[at + 8:at + 8 + size]
        at += 8 + size
    return found[1], found[2]


def _attached(id: str, extra: str = "") -> bytes:
    return request("POST", f"/v1.44/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1{extra}")


def stream_begins_with_the_request(world: World, tool: Tool, chance: Random) -> None:
    """What comes with the head of an attach, in one segment or in pieces, is input; its end may come at once."""
    data = content(chance, chance.choice((1, 4096, 65537, 300_000)))
    with made(world, "cat") as id, closing(Raw(world)) as raw:
        starter = threading.Timer(chance.random() * 0.05, ask, (world, "POST", f"/containers/{id}/start"))
        starter.start()
        raw.send(chance, _attached(id), data)
        raw.socket.shutdown(socket.SHUT_WR)
        status = raw.head()
        out, err = frames(raw.rest())
        starter.join()
        if (status, out, err) != (101, data, b""):
            raise Fault(f"{status} {shown(out)} for {shown(data)}, {err!r}")


def exec_streams(world: World, tool: Tool, chance: Random) -> None:
    """The same for an exec, in both directions."""
    data = content(chance, chance.choice((0, 1, 4096, 65537, 300_000)))
    wish = {"AttachStdin": True, "AttachStdout": True, "AttachStderr": True, "Cmd": ["cat"]}
    id = ask(world, "POST", f"/containers/{world.box}/exec", wish)["Id"]
    with closing(Raw(world)) as raw:
        raw.send(chance, request("POST", f"/v1.44/exec/{id}/start", b'{"Detach":false,"Tty":false}'), data)
        raw.socket.shutdown(socket.SHUT_WR)
        status = raw.head()
        out, err = frames(raw.rest())
    if (status, out, err) != (101, data, b""):
        raise Fault(f"{status} {shown(out)} for {shown(data)}, {err!r}")
    if (code := ask(world, "GET", f"/exec/{id}/json")["ExitCode"]) != 0:
        raise Fault(f"exit code {code}")


def says_and_hangs_up(world: World, tool: Tool, chance: Random) -> None:
    """What a client has said before it hung up is heard, also when it does not wait for anything."""
    size = chance.choice((1, 4096, 60_000, 400_000))
    data = content(chance, size)
    script = chance.choice(("sleep 0.3; cat > /got; echo written", "cat > /got", "tee /got", "echo noise; tee /got"))
    with made(world, "sh", "-c", script) as id:
        raw = Raw(world)
        raw.send(chance, _attached(id))
        raw.head()
        ask(world, "POST", f"/containers/{id}/start")
        raw.socket.sendall(data)
        if chance.random() < 0.3:
            time.sleep(0.05)
        raw.close()
        ask(world, "POST", f"/containers/{id}/wait")
        got = run(world.lading, "cp", f"{id}:/got", "-").expect(None).out[512:512 + size]
        if got != data:
            raise Fault(f"{script}: {shown(got)} for {shown(data)}")


def pipelined(world: World, tool: Tool, chance: Random) -> None:
    """Requests that come all at once are answered one after the other."""
    targets = [chance.choice(("/_ping", "/version", f"/containers/{world.box}/json", "/containers/none/json"))
               for _ in range(8)]
    with closing(Raw(world)) as raw:
        asked = [request("GET", target, upgrade=False) for target in targets]
        asked[-1] = asked[-1].replace(b"Host: x\r\n", b"Host: x\r\nConnection: close\r\n")
        raw.send(chance, *asked)
        if chance.random() < 0.5:
            raw.socket.shutdown(socket.SHUT_WR)
        heard = raw.rest()
    codes = re.findall(rb"HTTP/1.1 (\d\d\d) ", heard)
    wanted = [b"404" if target.endswith("none/json") else b"200" for target in targets]
    if codes != wanted:
        raise Fault(f"{codes} for {wanted}")


def posts_and_hijack_on_one_connection(world: World, tool: Tool, chance: Random) -> None:
    """A connection that has been one for requests becomes a stream."""
    data = content(chance, 5000)
    wish = json.dumps({"AttachStdin": True, "AttachStdout": True, "Cmd": ["cat"]}).encode()
    with closing(Raw(world)) as raw:
        raw.send(chance, request("POST", f"/containers/{world.box}/exec", wish, upgrade=False))
        raw.head()
        raw.until(b"}\n")
        id = json.loads(bytes(raw._heard))["Id"]
        raw._heard.clear()
        raw.send(chance, request("POST", f"/v1.44/exec/{id}/start", b'{"Detach":false,"Tty":false}'), data)
        raw.socket.shutdown(socket.SHUT_WR)
        raw.head()
        out, _ = frames(raw.rest())
    if out != data:
        raise Fault(f"{shown(out)} for {shown(data)}")


def logs_and_stream(world: World, tool: Tool, chance: Random) -> None:
    """Attached with `logs=1`, one hears everything once: what was written before, and what comes."""
    script = "i=1; while [ $i -le 3000 ]; do seq $i $((i+9)); i=$((i+10)); usleep 500; done"
    running = chance.random() < 0.7
    with made(world, "sh", "-c", script) as id, closing(Raw(world)) as raw:
        if running:
            ask(world, "POST", f"/containers/{id}/start")
            time.sleep(chance.random() * 0.1)
        raw.send(chance, _attached(id, "&logs=1"))
        if raw.head() == 409 and running:
            return  # it has ended already
        if not running:
            ask(world, "POST", f"/containers/{id}/start")
        out, _ = frames(raw.rest())
        sequence(out.splitlines(), f"running {running}", 1, 3000)


def follows_logs(world: World, tool: Tool, chance: Random) -> None:
    """`logs?follow` from the first line to the last, asked for in the moment of the start."""
    with made(world, "seq", "1", "5000") as id, closing(Raw(world)) as raw:
        ask(world, "POST", f"/containers/{id}/start")
        raw.send(chance, request("GET", f"/v1.44/containers/{id}/logs?stdout=1&follow=1", upgrade=False).replace(
            b"HTTP/1.1", b"HTTP/1.0"))
        raw.head()
        sequence(frames(raw.rest())[0].splitlines(), "logs", 1, 5000)


def by_websocket(world: World, tool: Tool, chance: Random) -> None:
    """An attach by WebSocket, its messages in pieces."""
    data = content(chance, chance.choice((1, 125, 126, 65535, 65536, 200_000)))
    key = base64.b64encode(os.urandom(16)).decode()
    with made(world, "head", "-c", str(len(data))) as id, closing(Raw(world)) as raw:
        head = (f"GET /v1.44/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\nHost: x\r\n"
                f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                f"Sec-WebSocket-Key: {key}\r\n\r\n").encode()
        early = chance.random() < 0.5
        sent = b"".join(_masked(chance, piece) for piece in cut(chance, data, 100_000))
        if early:
            raw.send(chance, head, sent)
        else:
            raw.send(chance, head)
        raw.head()
        ask(world, "POST", f"/containers/{id}/start")
        if not early:
            raw.send(chance, sent)
        found = _unmasked(raw.rest())
        if found != data:
            raise Fault(f"early {early}: {shown(found)} for {shown(data)}")


def _masked(chance: Random, data: bytes) -> bytes:
    mask = chance.randbytes(4)
    size = bytes([0x80 | len(data)]) if len(data) < 126 else (
        b"\xfe" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\xff" + struct.pack(">Q", len(data)))
    long = int.from_bytes((mask * (len(data) // 4 + 1))[:len(data)], "big")
    return b"\x82" + size + mask + (int.from_bytes(data, "big") ^ long).to_bytes(len(data), "big")


def _unmasked(data: bytes) -> bytes:
    found, at = b"", 0
    while at + 2 <= len(data):
        kind, size = data[at] & 15, data[at + 1] & 127
        at += 2
        if size >= 126:
            width = 2 if size == 126 else 8
            size, at = int.from_bytes(data[at:at + width], "big"), at + width
        if kind in (0, 1, 2):
            found += data[at:at + size]
        at += size
    return found


def refused_upload_is_told_why(world: World, tool: Tool, chance: Random) -> None:
    """Who sends more than is wanted hears why it is not, and no broken pipe."""
    data = content(chance, 3_000_000)
    if tool is world.lading:
        ended = run(tool, "cp", "-", "nobody:/tmp", stdin=cut(chance, data, 1 << 18))
        if ended.code != 1 or b"No such container" not in ended.err:
            raise Fault(f"{ended.code} {ended.err!r}")
    ended = run(tool, "load", stdin=cut(chance, data, 1 << 18))
    if ended.code != 1 or b"broken pipe" in ended.err or b"reset" in ended.err:
        raise Fault(f"{ended.code} {ended.err!r}")


RAW_CASES = {
    case.__name__: case for case in (
        stream_begins_with_the_request, exec_streams, says_and_hangs_up, pipelined, posts_and_hijack_on_one_connection,
        logs_and_stream, follows_logs, by_websocket,
    )
}
