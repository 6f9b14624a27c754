"""ufw and firewalld themselves, where they are installed: what they drop, and drop again after a reload, gets through.

They run in the laboratory, with files of their own: the machine's firewall notices nothing.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from domain.network.ports import Publication
from tests.adapters.net.lab import HOST, NEIGHBOUR, Lab, eventually
from tests.adapters.net.test_flows import A, B, Containers

pytestmark = [pytest.mark.kernel, pytest.mark.slow]
_OWN_FILES = """
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/log
mkdir -p /run/dbus /run/lock /run/etc /var/log/firewalld
for each in ufw firewalld default; do
  [ ! -d /etc/$each ] || { cp -a /etc/$each /run/etc/ && mount --bind /run/etc/$each /etc/$each; }
done
echo there && exec sleep 600
"""


@dataclass(frozen=True)
class Wall:
    """How a firewall is started and reloaded; `needs` are its programs, `ready` ends with 0 when it is complete."""

    needs: Sequence[str]
    start: Sequence[Sequence[str]]
    reload: Sequence[str]
    ready: Sequence[str]


UFW = Wall(("ufw",), (("ufw", "--force", "enable"),), ("ufw", "reload"), ("ufw", "status"))
FIREWALLD = Wall(
    ("firewalld", "firewall-cmd", "dbus-daemon"),
    (("dbus-daemon", "--system", "--fork", "--nopidfile"),
     ("sh", "-c", "firewalld --nofork --nopid >/dev/null 2>&1 &")),
    ("firewall-cmd", "--reload"), ("firewall-cmd", "--state"))


@contextmanager
def inside(lab: Lab) -> Iterator[Sequence[str]]:
    """What goes in front of a command that sees the laboratory's host and files of its own; what it leaves running ends
    with the block."""
    enter = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{lab.host}")
    with subprocess.Popen((*enter, "unshare", "-m", "-p", "--fork", "--kill-child", "sh", "-c", _OWN_FILES),
                          stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"there\n"
            first = Path(f"/proc/{holder.pid}/task/{holder.pid}/children").read_text().split()[0]
            yield "nsenter", "-t", first, "-m", "-n", "-p"
        finally:
            holder.kill()


@pytest.mark.parametrize("wall", [pytest.param(UFW, id="ufw"), pytest.param(FIREWALLD, id="firewalld")])
async def test_a_firewall_and_our_networks_live_on_one_host(lab: Lab, wall: Wall) -> None:
    """Started after us, reloaded, and with everything flushed: the way out, neighbours on one bridge and published
    ports work, and networks are kept apart."""
    absent = [program for program in wall.needs if shutil.which(program) is None]
    if absent:
        pytest.skip(f"{' and '.join(absent)} is not installed")
    with inside(lab) as enter:
        def run(*words: str) -> "subprocess.CompletedProcess[str]":
            return subprocess.run((*enter, *words), capture_output=True, text=True, timeout=60)

        driver = lab.driver(enter=enter[:-1])
        containers = Containers(lab, driver)
        async with driver:
            for bridge in (A, B):
                await driver.add_bridge(bridge)
            server = await containers.open(A, 2, Publication(80, "tcp", "", 8080))
            client, stranger = await containers.open(A, 3), await containers.open(B, 2)
            lab.echo(server, 80, name="web")
            lab.echo(lab.neighbour, 80, name="world")

            def works() -> bool:
                return (lab.ask(client, NEIGHBOUR, 80, patience=0.5), lab.ask(client, "10.213.0.2", 80, patience=0.5),
                        lab.ask(lab.neighbour, HOST, 8080, patience=0.5)) == (
                            f"world sees {HOST}", "web sees 10.213.0.3", f"web sees {NEIGHBOUR}")

            assert works()
            for words in wall.start:
                done = run(*words)
                assert done.returncode == 0, done.stderr
            assert eventually(lambda: run(*wall.ready).returncode == 0, patience=30)
            assert eventually(works)
            assert run(*wall.reload).returncode == 0
            assert eventually(works)
            assert lab.ask(stranger, "10.213.0.2", 80, patience=0.3) == ""
            run("nft", "flush", "ruleset")
            assert eventually(works)
            await driver.clean()
            for _, fd, _ in containers.opened:
                os.close(fd)
        assert "ldg+" not in run("iptables", "-S").stdout
