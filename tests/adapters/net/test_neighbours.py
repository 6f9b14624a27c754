"""Beside other firewalls: whoever drops what is forwarded lets ours through, and has nothing of it at the end."""

import os
import shutil
from dataclasses import replace

import pytest

from domain.network.ports import Publication
from tests.adapters.net import test_flows
from tests.adapters.net.lab import HOST, NEIGHBOUR, Lab, eventually
from tests.adapters.net.test_flows import A, B, Containers

containers = test_flows.containers
IPTABLES = shutil.which("iptables", path="/usr/sbin:/sbin:/usr/bin") or ""
pytestmark = [pytest.mark.kernel, pytest.mark.slow, pytest.mark.skipif(not IPTABLES, reason="needs iptables")]


def iptables(containers: Containers, *arguments: str) -> str:
    """Rules of the host in the laboratory."""
    lab = containers.lab
    done = lab.run(lab.host, IPTABLES, "-w", *arguments)
    if done.returncode:
        pytest.skip(f"this kernel has no tables for iptables: {done.stderr.strip()}")
    return done.stdout


def as_docker_does(containers: Containers) -> None:
    """Drop what nobody accepts; users have a chain of their own."""
    iptables(containers, "-N", "DOCKER-USER")
    iptables(containers, "-A", "FORWARD", "-j", "DOCKER-USER")
    iptables(containers, "-P", "FORWARD", "DROP")


async def test_a_docker_that_starts_later_cuts_nothing(containers: Containers) -> None:
    """The way out goes on; networks are kept apart as before; at the end nothing of ours is in its chain."""
    lab = containers.lab
    client, server = await containers.open(A, 2), await containers.open(A, 3)
    stranger = await containers.open(B, 2)
    lab.echo(lab.neighbour, 80, name="world")
    lab.echo(server, 80)
    as_docker_does(containers)
    assert eventually(lambda: lab.ask(client, NEIGHBOUR, 80, patience=1) == f"world sees {HOST}")
    assert lab.ask(client, "10.213.0.3", 80) == "server sees 10.213.0.2"
    assert lab.ask(stranger, "10.213.0.3", 80, patience=1) == ""
    assert "ldg+" in iptables(containers, "-S", "DOCKER-USER")
    await containers.driver.clean()
    assert "ldg+" not in iptables(containers, "-S")


async def test_a_firewall_that_forwards_nothing_lets_our_networks_through(containers: Containers) -> None:
    """As ufw does it: the policy drops, and no chain is kept for others. Once is enough."""
    lab = containers.lab
    iptables(containers, "-P", "FORWARD", "DROP")
    for bridge in (A, B):
        await containers.driver.remove_bridge(bridge.id)
        await containers.driver.add_bridge(bridge)
    client = await containers.open(A, 2)
    lab.echo(lab.neighbour, 80, name="world")
    assert lab.ask(client, NEIGHBOUR, 80) == f"world sees {HOST}"
    assert iptables(containers, "-S", "FORWARD").count("-o ldg+ ") == 1


async def test_a_bridge_with_a_name_of_its_own_is_let_through_as_long_as_it_is_there(containers: Containers) -> None:
    """The rules for all of ours do not fit it."""
    iptables(containers, "-P", "FORWARD", "DROP")
    await containers.driver.add_bridge(replace(B, id="e5" * 32, link="lt-own", addresses=("10.213.9.1/24",)))
    assert iptables(containers, "-S", "FORWARD").count("-o lt-own ") == 1
    await containers.driver.remove_bridge("e5" * 32)
    assert "lt-own" not in iptables(containers, "-S")


async def test_flushing_the_hosts_rules_takes_nothing_of_ours(containers: Containers) -> None:
    """`iptables -F` and `-t nat -F`: published ports and isolation stay (CVE-2025-54388, CVE-2025-54410)."""
    lab = containers.lab
    client, stranger = await containers.open(A, 2), await containers.open(B, 2)
    lab.echo(client, 80)
    lab.echo(lab.neighbour, 80, name="world")
    for table in ("filter", "nat"):
        iptables(containers, "-t", table, "-F")
    assert lab.ask(client, NEIGHBOUR, 80) == f"world sees {HOST}"
    assert lab.ask(stranger, "10.213.0.2", 80, patience=1) == ""


async def test_a_firewall_that_is_respected_says_who_reaches_published_ports(lab: Lab) -> None:
    """The way out stays open, and what was asked for before is taken back; one rule of the host's own opens a port."""
    driver = lab.driver("respect")
    containers = Containers(lab, driver)
    iptables(containers, "-P", "FORWARD", "DROP")
    iptables(containers, "-A", "FORWARD", "-o", "ldg+", "-m", "comment", "--comment", "lading", "-j", "ACCEPT")
    async with driver:
        await driver.add_bridge(A)
        server = await containers.open(A, 2, Publication(80, "tcp", "", 8080))
        friend = await containers.open(A, 3)
        lab.echo(server, 80, name="web")
        lab.echo(lab.neighbour, 80, name="world")
        assert lab.ask(lab.neighbour, HOST, 8080, patience=0.5) == ""
        assert lab.ask(friend, "10.213.0.2", 80) == "web sees 10.213.0.3"
        assert lab.ask(server, NEIGHBOUR, 80) == f"world sees {HOST}"
        iptables(containers, "-I", "FORWARD", "-p", "tcp", "-d", "10.213.0.2", "--dport", "80", "-j", "ACCEPT")
        assert lab.ask(lab.neighbour, HOST, 8080) == f"web sees {NEIGHBOUR}"
        await driver.clean()
        for _, fd, _ in containers.opened:
            os.close(fd)
    assert "ldg+" not in iptables(containers, "-S")
