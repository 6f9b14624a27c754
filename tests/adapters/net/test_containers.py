"""Real containers in the places that the driver makes."""

import os
import socket
from pathlib import Path

import pytest

from domain.errors import KernelError
from domain.network.ports import Publication
from domain.network.setup import Place, Sandbox
from domain.spec import ContainerSpec
from tests.adapters.kernel.supervisor import conftest as kernel
from tests.adapters.kernel.supervisor.machine import Machine
from tests.adapters.net.lab import HOST, NEIGHBOUR, Lab, eventually
from tests.adapters.net.test_flows import A, endpoint

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
layers, machine = kernel.layers, kernel.machine
SERVER = "mkdir /www; echo hello > /www/page; httpd -f -p 80 -h /www"


def spec(script: str) -> ContainerSpec:
    """A shell script in a container."""
    return ContainerSpec(image="busybox", image_id="sha256:0", command=("/bin/sh", "-c", script), hostname="box")


async def test_two_containers_and_the_world(lab: Lab, machine: Machine) -> None:
    """One serves, one asks it, the host asks it by its published port; both see their own interfaces alone."""
    async with machine.connected() as runtime, lab.driver() as driver:
        await driver.add_bridge(A)
        server, client = "5e" * 32, "c1" * 32
        bindings = await driver.reserve(server, 1, [Publication(80, "tcp", "", 8080)], {})
        one = await driver.open(Sandbox(id=server, attempt=1, endpoints=(endpoint(A, 2),), bindings=tuple(bindings)))
        other = await driver.open(Sandbox(id=client, attempt=1, endpoints=(endpoint(A, 3),)))
        machine.specs[server] = spec(f"/bin/busybox sh -c '{SERVER.replace('httpd', '/bin/busybox httpd')}'")
        await runtime.start(server, 1, machine.specs[server], (), ("busybox",), place=one)
        assert eventually(lambda: b"hello" in _get(lab, lab.neighbour, HOST))
        lab.echo(lab.neighbour, 80, name="world")
        machine.specs[client] = spec(
            f"wget -qO- http://10.213.0.2/page; nc {NEIGHBOUR} 80; echo; ls /sys/class/net; "
            "cat /proc/sys/net/ipv4/ping_group_range")
        await runtime.start(client, 1, machine.specs[client], (), ("busybox",), place=other)
        assert (await machine.end(client)).code == 0
        assert (await machine.output(client)).decode().split("\n")[:4] == [
            "hello", f"world sees {HOST}", "eth0", "lo"]
        assert (await machine.told(server, "ls /sys/class/net")).split() == ["eth0", "lo"]
        await runtime.kill_all(server)
        for id in (server, client):
            await driver.close(id, 1)
            await runtime.remove(id)
        await driver.clean()


async def test_a_child_killed_at_its_network_leaves_nothing(lab: Lab, machine: Machine) -> None:
    """The start has failed, and the place waits for another one."""
    machine.failpoints = "child.EnterNetwork=kill"
    async with machine.connected() as runtime, lab.driver() as driver:
        await driver.add_bridge(A)
        id = "5e" * 32
        place = await driver.open(Sandbox(id=id, attempt=1, endpoints=(endpoint(A, 2),)))
        with pytest.raises(KernelError):
            await runtime.start(id, 1, spec("true"), (), ("busybox",), place=place)
        assert os.stat(place.path).st_ino == place.inode
        assert await runtime.running() == {}
        await driver.clean()


async def test_a_place_that_is_another_one_is_not_entered(lab: Lab, machine: Machine) -> None:
    """The process that made it may have died, and its number may be somebody else's: then nothing starts."""
    async with machine.connected() as runtime:
        wrong = [Place(path, Path(path).stat().st_ino) for path in ("/etc/passwd", f"/proc/{os.getpid()}/ns/mnt")]
        for place in (Place(f"/proc/{os.getpid()}/ns/net", 1), *wrong):
            with pytest.raises(KernelError, match="setns"):
                await runtime.start("5e" * 32, 1, spec("true"), (), ("busybox",), place=place)


def _get(lab: Lab, namespace: int, address: str) -> bytes:
    """A page of the server, from inside a namespace."""
    def ask() -> bytes:
        with socket.create_connection((address, 8080), 3) as connection:
            connection.sendall(b"GET /page HTTP/1.0\r\n\r\n")
            return connection.makefile("rb").read()

    try:
        return lab.call(namespace, ask)
    except OSError:
        return b""
