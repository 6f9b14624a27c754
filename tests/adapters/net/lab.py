"""A laboratory: a host and a neighbour in network namespaces of their own, and processes in any of them.

    neighbour 198.51.100.2 ─── eth0 198.51.100.1 host ─── bridges of the driver ─── containers

The network process of the driver lives in the host's namespace, so nothing reaches the machine that runs the tests.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from adapters.net import links, namespaces
from adapters.net.driver import NetworkProcess
from adapters.net.netlink import Netlink

HOST, NEIGHBOUR = "198.51.100.1", "198.51.100.2"
HOST_V6, NEIGHBOUR_V6 = "2001:db8::1", "2001:db8::2"
_ENTER = ("import ctypes, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY | os.O_CLOEXEC); "
          "assert ctypes.CDLL(None).setns(fd, 0x40000000) == 0; os.execv(sys.argv[2], sys.argv[2:])")
_INSIDE = sys.executable, "-I", "-c", _ENTER
_T = TypeVar("_T")


class Lab:
    """`host` and `neighbour` are descriptors of namespaces; `directory` is for the driver's files."""

    def __init__(self, directory: Path) -> None:
        self._pool = ThreadPoolExecutor(1, "lab")
        self.host = self._pool.submit(namespaces.make).result()
        self.neighbour = self._pool.submit(namespaces.make).result()
        self.directory = directory
        self._sockets: list[socket.socket] = []
        self._drivers: list[NetworkProcess] = []
        self.call(self.host, self._wire)

    def _wire(self) -> None:
        """The cable between host and neighbour; the neighbour is the host's way out."""
        with Netlink() as here:
            here.send([links.pair("eth0", master=0, mtu=1500, group=0, peer="eth0", mac="02:00:00:00:00:02",
                                  namespace=self.neighbour)])
        for switch in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):  # they begin as the machine's are
            Path("/proc/sys/net", switch).write_text("0")
        for namespace, addresses, gateways in (
                (self.host, (f"{HOST}/24", f"{HOST_V6}/64"), (NEIGHBOUR, NEIGHBOUR_V6)),
                (self.neighbour, (f"{NEIGHBOUR}/24", f"{NEIGHBOUR_V6}/64"), ())):
            with namespaces.inside(namespace), Netlink() as here:
                index = {link.name: link.index for link in links.all_links(here)}
                here.send([links.change(index["lo"], up=True), links.change(index["eth0"], up=True),
                           *(links.address(index["eth0"], text) for text in addresses),
                           *(links.default_route(index["eth0"], text) for text in gateways)])

    def close(self) -> None:
        """Servers end, and processes that a failed test has left; the namespaces go with their last descriptor."""
        for driver in self._drivers:
            if driver.pid and b"lading_engine" in _command_line(driver.pid):
                os.kill(driver.pid, signal.SIGKILL)
        for each in self._sockets:
            each.close()
        self._pool.shutdown()
        os.close(self.host)
        os.close(self.neighbour)

    def driver(self, mode: str = "open", enter: Sequence[str] = ()) -> NetworkProcess:
        """A driver whose process lives on the host; `mode` is what it asks of other firewalls, `enter` leads there by
        another way."""
        command = (*(enter or (*_INSIDE, f"/proc/{os.getpid()}/fd/{self.host}")),
                   sys.executable, "-I", "-m", "lading_engine", "net")
        driver = NetworkProcess(command, self.directory / "run", self.directory, mode)
        self._drivers.append(driver)
        return driver

    def call(self, namespace: int, action: Callable[[], _T]) -> _T:
        """Do something inside of a namespace; `namespace` is a descriptor."""
        def inside() -> _T:
            with namespaces.inside(namespace):
                return action()

        return self._pool.submit(inside).result()

    def keep(self, make: Callable[[], socket.socket]) -> socket.socket:
        """A socket that lasts as long as the laboratory."""
        made = self._pool.submit(make).result()
        self._sockets.append(made)
        return made

    def links(self, namespace: int) -> list[str]:
        """Names of the interfaces there."""
        def names() -> list[str]:
            with Netlink() as here:
                return [link.name for link in links.all_links(here)]

        return self.call(namespace, names)

    def echo(self, namespace: int, port: int, *, name: str = "server", udp: bool = False, address: str = "") -> None:
        """A server that answers `NAME sees ADDRESS`: one answer proves the way and the source."""
        def listen() -> socket.socket:
            family = socket.AF_INET if "." in address else socket.AF_INET6
            server = socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind((address or "::", port))
            if not udp:
                server.listen()
            return server

        server = self.call(namespace, listen)
        self._sockets.append(server)
        threading.Thread(target=_echo_datagrams if udp else _echo, args=(server, name), daemon=True).start()

    def ask(self, namespace: int, address: str, port: int, *, udp: bool = False, patience: float = 3) -> str:
        """What a server says; empty if it cannot be reached."""
        def client() -> socket.socket:
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            return socket.socket(family, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)

        with self.call(namespace, client) as found:
            found.settimeout(patience)
            try:
                found.connect((address, port))
                if udp:
                    found.send(b"?")
                return found.recv(200).decode()
            except OSError:
                return ""

    @contextmanager
    def process(self, namespace: int, *argv: str) -> Iterator["subprocess.Popen[bytes]"]:
        """A program inside of a namespace, killed at the end; it is there when this begins."""
        with subprocess.Popen((*_INSIDE, f"/proc/{os.getpid()}/fd/{namespace}", *argv)) as process:
            wanted = os.fstat(namespace).st_ino
            assert eventually(lambda: os.stat(f"/proc/{process.pid}/ns/net").st_ino == wanted)
            yield process
            process.kill()

    def run(self, namespace: int, *argv: str) -> subprocess.CompletedProcess[str]:
        """A program inside of a namespace."""
        return subprocess.run((*_INSIDE, f"/proc/{os.getpid()}/fd/{namespace}", *argv),
                              capture_output=True, text=True, timeout=30)


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def eventually(question: Callable[[], bool], *, patience: float = 10) -> bool:
    """Whether it becomes true in time."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if question():
            return True
        time.sleep(0.02)
    return False


def _echo(server: socket.socket, name: str) -> None:
    while True:
        try:
            client, address = server.accept()
        except OSError:
            return
        with client:
            try:
                client.sendall(f"{name} sees {address[0].removeprefix('::ffff:')}".encode())
            except OSError:
                continue


def _echo_datagrams(server: socket.socket, name: str) -> None:
    while True:
        try:
            _, address = server.recvfrom(2000)
            server.sendto(f"{name} sees {address[0].removeprefix('::ffff:')}".encode(), address)
        except OSError:
            return
