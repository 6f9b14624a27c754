"""Networks as a user makes them: in the kernel as long as the log has them, and not longer."""

import errno
import json
import socket

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

CUSTOM = ("network", "ls", "-f", "type=custom", "--format", "{{.Name}}")


def links(engine: Engine) -> set[str]:
    """Its bridges."""
    return {name for name in engine.interfaces() if name.startswith("ldg")}


def created(engine: Engine, *words: str) -> tuple[str, str]:
    """A new network: its id, and its link in the kernel."""
    id = engine.ok("network", "create", *words).strip()
    return id, f"ldg-{id[:10]}"


def test_a_network_is_in_the_kernel_until_it_is_removed(engine: Engine) -> None:
    """Nothing of it stays, and its history does."""
    before = links(engine)
    _, link = created(engine, "shop")
    assert links(engine) == before | {link}
    assert engine.ok("network", "rm", "shop").split() == ["shop"]
    until(lambda: links(engine) == before, "the bridge is gone")
    steps = [json.loads(line)["event"] for line in engine.ok("audit", "--json", "network", "shop").splitlines()]
    assert steps == ["network-created", "network-remove-requested", "network-removed"]


def test_a_bridge_of_ones_own_name_is_in_the_kernel_and_found_again(engine: Engine) -> None:
    """Until it is removed."""
    engine.ok("network", "create", "-o", "com.docker.network.bridge.name=lt-shop", "shop")
    number = socket.if_nametoindex("lt-shop")
    engine.crash()
    engine.start()
    engine.ok("run", "--rm", "--network", "shop", "busybox", "ip", "route")
    assert socket.if_nametoindex("lt-shop") == number
    engine.ok("network", "rm", "shop")
    until(lambda: "lt-shop" not in dict.fromkeys(name for _, name in socket.if_nameindex()), "the bridge is gone")


def test_a_killed_daemon_finds_its_networks_again(engine: Engine) -> None:
    """The next one does not make them anew, and takes away what it removes."""
    _, link = created(engine, "shop")
    number = socket.if_nametoindex(link)
    engine.crash()
    engine.start()
    assert engine.ok(*CUSTOM).split() == ["shop"]
    assert socket.if_nametoindex(link) == number
    engine.ok("network", "prune", "-f")
    until(lambda: link not in links(engine), "the bridge is gone")


@pytest.mark.parametrize("point", ["networks.before-record", "networks.before-removal"])
def test_a_daemon_that_dies_in_between_leaves_kernel_and_log_in_agreement(engine: Engine, point: str) -> None:
    """A network that was made and not recorded goes; one that was to be removed is removed."""
    before = links(engine)
    created(engine, "vault")
    engine.ok("network", "create", "shop")
    engine.restart(f"{point}=kill")
    words = ("network", "create", "third") if point.endswith("record") else ("network", "rm", "shop")
    engine.cli(*words)
    engine.died()
    engine.start()
    names = {"networks.before-record": ["shop", "vault"], "networks.before-removal": ["vault"]}[point]
    assert engine.ok(*CUSTOM).split() == names
    until(lambda: len(links(engine) - before) == len(names), f"one bridge for each of {names}")
    engine.ok("network", "prune", "-f")


def test_a_host_that_needs_no_network_has_no_process_for_them(engine: Engine) -> None:
    """Containers without a network of their own cost what they did before."""
    engine.restart()
    engine.shell("true", "--rm", "--network", "none")
    with socket.socket(socket.AF_UNIX) as line:
        assert line.connect_ex(str(engine.run_dir / "net.sock")) in (errno.ENOENT, errno.ECONNREFUSED)


def test_a_daemon_is_stopped_without_a_trace_of_its_networks(engine: Engine) -> None:
    """Unless a container needs them; also after the death of the process that made them."""
    engine.ok("network", "create", "shop")
    engine.ok("run", "-d", "--name", "web", "busybox", "sleep", "600")
    assert engine.tables() == [f"table {engine.group_root}"]
    assert "containers still run on networks (1 interfaces)" in engine.refused("daemon", "stop", "--clean")
    engine.start()
    engine.ok("rm", "-f", "web")
    engine.kill("net")
    engine.ok("daemon", "stop", "--clean")
    assert engine.interfaces() == []
    assert engine.tables() == []
    assert not engine.processes()["net"]
    engine.start()
    assert engine.ok("run", "--rm", "busybox", "echo", "again") == "again"
    engine.ok("network", "prune", "-f")
