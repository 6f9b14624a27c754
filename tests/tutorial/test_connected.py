"""Containers on networks as users have them: names, addresses, published ports; and deaths of who looks after them."""

import hashlib
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.tutorial.engine import PATIENCE, Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

SERVER = "mkdir /www; echo {text} > /www/index.html; exec httpd -f -p {port} -h /www"
ECHO = """
import socket
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 53))
while True:
    data, client = server.recvfrom(2000)
    server.sendto(data, client)
"""
HERE, THERE = "198.51.100.1", "198.51.100.2"


def serve(engine: Engine, name: str, *options: str, text: str = "hello", port: int = 80) -> str:
    """A container with a page."""
    id = engine.ok("run", "-d", "--name", name, *options, "busybox", "sh", "-c", SERVER.format(text=text, port=port))
    until(lambda: engine.cli("exec", name, "wget", "-qO-", f"http://127.0.0.1:{port}").code == 0, f"{name} serves")
    return id


def get(engine: Engine, network: str, url: str) -> str:
    """What a container of another network, or of this one, is answered; nothing if it is not."""
    done = engine.cli("run", "--rm", "--net", network, "busybox", "timeout", "3", "wget", "-qO-", url)
    return done.out.strip()


def page(address: str, port: int) -> str:
    """The page as the host gets it; nothing if it does not."""
    try:
        with closing(socket.create_connection((address, port), 3)) as line:
            line.sendall(b"GET / HTTP/1.0\r\n\r\n")
            return line.makefile("rb").read().partition(b"\r\n\r\n")[2].decode().strip()
    except OSError:
        return ""


def shown(engine: Engine, name: str, path: str) -> str:
    """A value of `inspect`."""
    return engine.ok("inspect", "-f", f"{{{{{path}}}}}", name)


def address(engine: Engine, name: str, network: str = "bridge") -> str:
    """Its address there."""
    return shown(engine, name, f'(index .NetworkSettings.Networks "{network}").IPAddress')


@pytest.fixture(autouse=True)
def without_networks(engine: Engine) -> Iterator[None]:
    """Each test makes its own, and leaves none."""
    yield
    engine.remove_all()
    engine.ok("network", "prune", "-f")
    until(lambda: not engine.interfaces() and not engine.tables(), f"no link stays: {engine.interfaces()}")


@contextmanager
def neighbour() -> Iterator[int]:
    """A host beside this one, on a cable of its own: the pid of a process that lives there."""
    with subprocess.Popen(["unshare", "-n", "sleep", "600"]) as there:
        def inside(*words: str) -> None:
            subprocess.run(["nsenter", "-t", str(there.pid), "-n", *words], check=True, timeout=PATIENCE)

        try:
            own = os.stat("/proc/self/ns/net").st_ino
            until(lambda: os.stat(f"/proc/{there.pid}/ns/net").st_ino != own, "it has a network")
            subprocess.run(["ip", "link", "add", "ltnb0", "type", "veth", "peer", "name", "eth0", "netns",
                            str(there.pid)], check=True)
            subprocess.run(["ip", "addr", "add", f"{HERE}/24", "dev", "ltnb0"], check=True)
            subprocess.run(["ip", "link", "set", "ltnb0", "up"], check=True)
            inside("ip", "addr", "add", f"{THERE}/24", "dev", "eth0")
            inside("ip", "link", "set", "eth0", "up")
            inside("ip", "route", "add", "default", "via", HERE)
            yield there.pid
        finally:
            subprocess.run(["ip", "link", "del", "ltnb0"], check=False)
            there.kill()


def asked_from(pid: int, where: str, port: int) -> str:
    """What the neighbour is answered."""
    done = subprocess.run(["nsenter", "-t", str(pid), "-n", "timeout", "3", "busybox", "wget", "-qO-",
                           f"http://{where}:{port}/"], capture_output=True, text=True, check=False, timeout=PATIENCE)
    return done.stdout.strip()


def test_containers_of_one_network_find_each_other_by_name(engine: Engine) -> None:
    """Those of another one do, once they are connected, and no longer when they are disconnected."""
    engine.ok("network", "create", "learning")
    serve(engine, "web", "--net", "learning", "--network-alias", "www")
    assert engine.cli("run", "--rm", "--net", "learning", "busybox", "ping", "-c1", "-W3", "web").code == 0
    for name in ("web", "www", "web.learning"):
        assert get(engine, "learning", f"http://{name}") == "hello"
    engine.ok("network", "create", "other")
    engine.ok("run", "-d", "--name", "asker", "--net", "other", "busybox", "sleep", "600")

    def answered(url: str) -> bool:
        return engine.cli("exec", "asker", "timeout", "2", "wget", "-qO-", url).code == 0

    there = address(engine, "web", "learning")
    assert not answered("http://web")
    assert not answered(f"http://{there}")
    engine.ok("network", "connect", "learning", "asker")
    assert answered("http://web")
    assert answered(f"http://{there}")
    assert engine.cli("exec", "asker", "ls", "/sys/class/net").lines == ["eth0", "eth1", "lo"]
    own = f"{address(engine, 'asker', 'learning')}\t{shown(engine, 'asker', '.Config.Hostname')}"
    assert own in engine.cli("exec", "asker", "cat", "/etc/hosts").lines
    engine.ok("network", "disconnect", "learning", "asker")
    assert own not in engine.cli("exec", "asker", "cat", "/etc/hosts").lines
    assert not answered("http://web")
    assert not answered(f"http://{there}")


def test_names_work_on_the_default_network(engine: Engine) -> None:
    """Forward and reverse; and follow a new name at once."""
    serve(engine, "web")
    assert get(engine, "bridge", "http://web") == "hello"
    engine.ok("run", "-d", "--name", "asker", "busybox", "sleep", "600")
    engine.ok("rename", "web", "www")
    assert engine.cli("exec", "asker", "timeout", "3", "wget", "-qO-", "http://www").out == "hello\n"
    assert engine.cli("exec", "asker", "timeout", "3", "wget", "-qO-", "http://web").code != 0
    reverse = engine.cli("exec", "asker", "nslookup", address(engine, "www")).out
    assert "www.bridge" in reverse


def test_when_the_way_out_is_left_the_next_network_has_it(engine: Engine) -> None:
    """Published ports and the default route follow at once; so does what is shown, also after a crash."""
    for name in ("learning", "other"):
        engine.ok("network", "create", name)
    serve(engine, "web", "--net", "learning", "-p", "18080:80")
    engine.ok("network", "connect", "other", "web")
    engine.ok("network", "disconnect", "learning", "web")
    assert page("127.0.0.1", 18080) == "hello"
    gateway = shown(engine, "web", "(index .NetworkSettings.Networks \"other\").Gateway")
    assert f"default via {gateway} dev eth1" in engine.ok("exec", "web", "ip", "route")
    engine.crash()
    engine.kill("net")
    engine.start()
    assert page("127.0.0.1", 18080) == "hello"
    assert engine.cli("exec", "web", "ip", "route").lines[0].startswith(f"default via {gateway}")


def test_a_network_without_names_has_links_and_its_own_host_address(engine: Engine) -> None:
    """Of ports that name none; a running container is linked as any other."""
    engine.ok("network", "create", "-o", "names=false", "-o", "host-binding=127.0.0.1", "quiet")
    serve(engine, "web", "--net", "quiet", "-p", "18080:80")
    assert engine.ok("port", "web") == "80/tcp -> 127.0.0.1:18080"
    engine.ok("run", "-d", "--name", "asker", "busybox", "sleep", "600")
    engine.ok("network", "connect", "--link", "web:shop", "quiet", "asker")
    assert engine.ok("exec", "asker", "timeout", "3", "wget", "-qO-", "http://shop") == "hello"
    assert engine.cli("exec", "asker", "timeout", "3", "wget", "-qO-", "http://web").code != 0


def test_an_interface_is_as_it_was_wished_and_a_link_waits_for_the_other(engine: Engine) -> None:
    """Its name, its own settings, an address of the link besides; whom a link means may come, go and come again."""
    engine.ok("network", "create", "learning")
    endpoint = "com.docker.network.endpoint"
    wish = (f"name=learning,link-local-ip=169.254.8.8,driver-opt={endpoint}.ifname=lan0,driver-opt=a=b,"
            f"driver-opt={endpoint}.sysctls=net.ipv4.conf.IFNAME.log_martians=1")
    engine.ok("run", "-d", "--name", "web", "--network", wish, "--link", "late:store", "busybox", "sleep", "600")
    inside = engine.ok("exec", "web", "sh", "-c", "cat /proc/sys/net/ipv4/conf/lan0/log_martians; ip -o -4 addr")
    assert inside.splitlines()[0] == "1"
    assert "169.254.8.8/16" in inside
    shown = json.loads(engine.ok("inspect", "web"))[0]["NetworkSettings"]["Networks"]["learning"]
    assert (shown["IPAMConfig"], shown["DriverOpts"]["a"], shown["Links"]) == (
        {"LinkLocalIPs": ["169.254.8.8"]}, "b", ["late:store"])
    told = engine.refused("run", "--network", "learning", "--link-local-ip", "169.254.8.8", "busybox", "true", code=125)
    assert "belongs to container web" in told
    for _ in range(2):
        assert engine.cli("exec", "web", "wget", "-T", "2", "-qO-", "http://store").code != 0
        serve(engine, "late", "--net", "learning")
        assert engine.ok("exec", "web", "wget", "-qO-", "http://store") == "hello"
        engine.ok("rm", "-f", "late")
    serve(engine, "late", "--net", "learning", "--link-local-ip", "169.254.9.9")
    assert engine.ok("exec", "web", "wget", "-qO-", "http://169.254.9.9") == "hello"
    engine.ok("network", "connect", "--driver-opt", f"{endpoint}.ifname=up0", "bridge", "web")
    assert "up0" in engine.ok("exec", "web", "ls", "/sys/class/net")
    engine.ok("rm", "--link", "web/store")
    assert engine.cli("exec", "web", "wget", "-T", "2", "-qO-", "http://store").code != 0
    assert "unlinked" in engine.ok("audit", "web")
    told = engine.refused("run", "--network", f"name=learning,driver-opt={endpoint}.sysctls=net.ipv4.conf.IFNAME.no=1",
                          "busybox", "true", code=125)
    assert "No such file" in told


def test_several_containers_share_a_name(engine: Engine) -> None:
    """As a service has them: each is asked in turn."""
    engine.ok("network", "create", "learning")
    for name in ("one", "two"):
        serve(engine, name, "--net", "learning", "--network-alias", "pool", text=name)
    found = engine.ok("run", "--rm", "--net", "learning", "busybox", "nslookup", "pool")
    assert {address(engine, name, "learning") for name in ("one", "two")} <= set(re.findall(r"[\d.]{7,}", found))


def test_a_published_port_is_reached_from_everywhere(engine: Engine) -> None:
    """From the host by all its addresses, from another host, and from containers of this and another network."""
    engine.ok("network", "create", "learning")
    engine.ok("network", "create", "other")
    serve(engine, "web", "--net", "learning", "-p", "18080:80", "-p", "127.0.0.1:18081:80")
    assert engine.ok("port", "web").splitlines() == [
        "80/tcp -> 0.0.0.0:18080", "80/tcp -> 127.0.0.1:18081", "80/tcp -> [::]:18080"]
    assert engine.ok("port", "web", "80").splitlines()[0] == "0.0.0.0:18080"
    assert "No public port '81/tcp' published for web" in engine.refused("port", "web", "81")
    for where in ("127.0.0.1", "::1"):
        assert page(where, 18080) == "hello"
    assert page("127.0.0.1", 18081) == "hello"
    with neighbour() as pid:
        assert page(HERE, 18080) == "hello"
        assert asked_from(pid, HERE, 18080) == "hello"
        assert asked_from(pid, HERE, 18081) == ""
        assert asked_from(pid, address(engine, "web", "learning"), 80) == "", "not published there"
        for network in ("learning", "other"):
            assert get(engine, network, f"http://{HERE}:18080") == "hello"
            assert get(engine, network, f"http://{HERE}:18081") == ""


def test_ps_and_inspect_show_addresses_and_ports(engine: Engine) -> None:
    """Ports in a row are folded; what rests shows none."""
    engine.ok("run", "-d", "--name", "web", "-p", "18000-18002:9000-9002", "--expose", "99", "busybox", "sleep", "600")
    ports = engine.ok("ps", "--format", "{{.Ports}}")
    assert ports == "99/tcp, 0.0.0.0:18000-18002->9000-9002/tcp, [::]:18000-18002->9000-9002/tcp"
    assert engine.ok("ps", "--format", "{{.Networks}}") == "bridge"
    document = json.loads(engine.ok("inspect", "web"))[0]
    assert document["NetworkSettings"]["Ports"]["9000/tcp"][0] == {"HostIp": "0.0.0.0", "HostPort": "18000"}
    assert document["NetworkSettings"]["Ports"]["99/tcp"] is None
    one = document["NetworkSettings"]["Networks"]["bridge"]
    assert one["IPAddress"] == document["NetworkSettings"]["IPAddress"]
    network = json.loads(engine.ok("network", "inspect", "bridge"))[0]
    assert network["Containers"][document["Id"]]["IPv4Address"] == f"{one['IPAddress']}/{one['IPPrefixLen']}"
    for wish in ("publish=18001", "expose=99", "network=bridge"):
        assert engine.ok("ps", "-f", wish, "--format", "{{.Names}}") == "web"
    assert engine.ok("ps", "-f", "publish=18003", "-q") == ""
    engine.ok("stop", "-t", "0", "web")
    assert engine.ok("ps", "-a", "--format", "{{.Ports}}") == ""
    assert address(engine, "web") == ""


def test_a_restart_keeps_address_and_ports(engine: Engine) -> None:
    """Also a random port, and over a stop in which others were started."""
    engine.ok("run", "-d", "--name", "web", "-p", "80", "-P", "--expose", "53/udp", "busybox", "sleep", "600")
    before = address(engine, "web"), engine.ok("port", "web")
    assert int(engine.ok("port", "web", "80").splitlines()[0].rpartition(":")[2]) >= 32768
    engine.ok("restart", "-t", "0", "web")
    assert (address(engine, "web"), engine.ok("port", "web")) == before
    engine.ok("stop", "-t", "0", "web")
    engine.ok("run", "-d", "--name", "next", "-p", "80", "busybox", "sleep", "600")
    engine.ok("start", "web")
    assert (address(engine, "web"), engine.ok("port", "web")) == before


def test_datagrams_come_back(engine: Engine) -> None:
    """Through the rules, and after a restart to the new process."""
    engine.ok("run", "-d", "--name", "dns", "-p", "18053:53/udp", "busybox", "sleep", "600")

    @contextmanager
    def server() -> Iterator[None]:
        words = ["nsenter", "-t", str(engine.pid("dns")), "-n", sys.executable, "-c", ECHO]
        with subprocess.Popen(words) as process:
            yield
            process.kill()

    def echoed() -> bool:
        with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as line:
            line.settimeout(0.5)
            line.connect(("127.0.0.1", 18053))
            try:
                line.send(b"ping")
                return line.recv(10) == b"ping"
            except OSError:
                return False

    with server():
        until(echoed, "an answer")
    engine.ok("restart", "-t", "0", "dns")
    with server():
        until(echoed, "an answer of the next run")


def test_fifty_containers_at_once_get_fifty_addresses(engine: Engine) -> None:
    """And are found by fifty names."""
    engine.ok("network", "create", "learning")
    begun = [engine.begin("run", "-d", "--name", f"c{n}", "--net", "learning", "busybox", "sleep", "600")
             for n in range(50)]
    for process in begun:
        assert process.wait(120) == 0
    found = json.loads(engine.ok("network", "inspect", "learning"))[0]["Containers"].values()
    assert len({each["IPv4Address"] for each in found}) == 50
    assert len({each["MacAddress"] for each in found}) == 50
    names = " ".join(f"c{n}" for n in range(50))
    script = f"for name in {names}; do nslookup $name >/dev/null && echo yes; done"
    assert engine.ok("run", "--rm", "--net", "learning", "busybox", "sh", "-c", script).split() == ["yes"] * 50


def test_a_download_survives_the_death_of_the_daemon(engine: Engine) -> None:
    """And of the network's process; then all is found again, and nothing stays in the end."""
    engine.ok("network", "create", "learning")
    script = "mkdir /www; head -c 60000000 /dev/urandom > /www/big; sha256sum /www/big; exec httpd -f -h /www"
    engine.ok("run", "-d", "--name", "web", "--net", "learning", "-p", "18080:80", "busybox", "sh", "-c", script)
    until(lambda: engine.logged("web"), "its checksum")
    wanted, digest = engine.logged("web")[0].split()[0], hashlib.sha256()
    until(lambda: engine.cli("exec", "web", "wget", "-qO/dev/null", "http://127.0.0.1/big").code == 0, "it serves")
    with closing(socket.create_connection(("127.0.0.1", 18080), 10)) as line:
        line.sendall(b"GET /big HTTP/1.0\r\n\r\n")
        stream = line.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        digest.update(stream.read(1_000_000))
        engine.crash()
        os.kill(engine.processes().roles["net"], 9)
        digest.update(stream.read(1_000_000))
        engine.start()
        while data := stream.read(1 << 20):
            digest.update(data)
    assert digest.hexdigest() == wanted
    assert engine.ok("port", "web", "80").splitlines()[0] == "0.0.0.0:18080"
    assert engine.cli("run", "--rm", "--net", "learning", "busybox", "ping", "-c1", "-W3", "web").code == 0
    serve(engine, "next", "--net", "learning", "-p", "18081:80", text="next")
    assert page("::1", 18081) == "next"


def test_a_killed_network_process_is_there_again_with_everything(engine: Engine) -> None:
    """Also while nobody runs a command: ports by proxy, names, and the next container."""
    serve(engine, "web", "-p", "18080:80")
    engine.ok("run", "-d", "--name", "asker", "busybox", "sleep", "600")
    before = engine.processes().roles["net"]
    os.kill(before, 9)
    until(lambda: engine.processes().roles.get("net", before) != before, "another process")
    until(lambda: page("::1", 18080) == "hello", "the proxy")
    until(lambda: engine.cli("exec", "asker", "timeout", "3", "wget", "-qO-", "http://web").out == "hello\n", "names")
    assert get(engine, "bridge", "http://web") == "hello"


def test_a_container_shares_the_network_of_another(engine: Engine) -> None:
    """Its addresses, its names, its loopback."""
    serve(engine, "web", "-h", "www")
    script = "wget -qO- http://127.0.0.1; hostname; tail -1 /etc/hosts; cat /etc/resolv.conf"
    told = engine.ok("run", "--rm", "--net", "container:web", "busybox", "sh", "-c", script).splitlines()
    assert told[:3] == ["hello", "www", f"{address(engine, 'web')}\twww"]
    assert told[3] == "nameserver 127.0.0.11"
    engine.ok("create", "--name", "late", "--net", "container:web", "busybox", "true")
    engine.ok("stop", "-t", "0", "web")
    assert "cannot join network of a non running container: web" in engine.refused("start", "late")


def test_the_hosts_network_and_none(engine: Engine) -> None:
    """The first has the host's interfaces, and says that ports are discarded; the second has only a loopback."""
    done = engine.cli("run", "--rm", "--net", "host", "-p", "80:80", "busybox", "ls", "/sys/class/net")
    assert set(done.lines) == set(os.listdir("/sys/class/net"))
    assert "Published ports are discarded when using host network mode" in done.err
    assert engine.ok("run", "--rm", "--net", "none", "-p", "80:80", "busybox", "ls", "/sys/class/net") == "lo"


def test_files_and_options_about_names(engine: Engine) -> None:
    """/etc/hosts, /etc/resolv.conf, links and their variables, the MAC address."""
    engine.ok("network", "create", "--subnet", "10.77.3.0/24", "learning")
    done = engine.ok(
        "run", "--rm", "--net", "learning", "--ip", "10.77.3.9", "--mac-address", "02:42:ac:11:00:09", "--add-host",
        "up:host-gateway", "--add-host", "db=10.9.9.9", "--dns-search", "a.b", "--dns-option", "timeout:1", "-h", "www",
        "busybox", "sh", "-c", "cat /etc/hosts /etc/resolv.conf /sys/class/net/eth0/address")
    assert done.splitlines()[2:] == [
        "10.77.3.9\twww", "10.77.3.1\tup", "10.9.9.9\tdb", "nameserver 127.0.0.11", "search a.b",
        "options timeout:1 ndots:0", "02:42:ac:11:00:09"]
    serve(engine, "db", "--expose", "5432", "-e", "USER=shop")
    told = engine.ok("run", "--rm", "--name", "app", "--link", "db:store", "busybox", "sh", "-c",
                     "wget -qO- http://store; env | grep STORE_ | sort")
    assert told.splitlines()[:3] == ["hello", "STORE_ENV_USER=shop", "STORE_NAME=/app/store"]
    assert f"STORE_PORT_5432_TCP_ADDR={address(engine, 'db')}" in told


def test_an_internal_network_has_no_way_out(engine: Engine) -> None:
    """Neither by address nor by name; its containers reach each other."""
    engine.ok("network", "create", "--internal", "vault")
    serve(engine, "web", "--net", "vault")
    assert get(engine, "vault", "http://web") == "hello"
    with neighbour() as pid:
        server_words = ["nsenter", "-t", str(pid), "-n", "busybox", "httpd", "-f", "-p", "80", "-h", "/usr"]
        with subprocess.Popen(server_words) as server:
            script = f"timeout 2 nc {THERE} 80 </dev/null && echo reached; nslookup example.org | grep -c NXDOMAIN"
            told = engine.cli("run", "--rm", "--net", "vault", "busybox", "sh", "-c", script).out
            server.kill()
    assert "reached" not in told


def test_what_stands_in_the_way_is_told_and_a_start_works_once_it_is_gone(engine: Engine) -> None:
    """One line each, with the holder's name; the container stays as it was."""
    serve(engine, "web", "-p", "18080:80")
    told = engine.refused("run", "-d", "--name", "other", "-p", "18080:80", "busybox", "sleep", "600", code=125)
    assert "host port 18080/tcp on 0.0.0.0 is already published by container web, which is running" in told
    assert "lading stop web" in told
    assert engine.state("other") == "created"
    engine.ok("stop", "-t", "0", "web")
    engine.ok("start", "other")
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        port = holder.getsockname()[1]
        told = engine.refused("run", "-d", "-p", f"127.0.0.1:{port}:80", "busybox", "true", code=125)
        assert f"host port {port}/tcp on 127.0.0.1 is in use by another program ({os.getpid()}" in told
    told = engine.refused("run", "-d", "-p", "203.0.113.9:80:80", "busybox", "true", code=125)
    assert "this host has no address 203.0.113.9 to publish on" in told
    lost = ("run", "-d", "--name", "lost", "--net", "nowhere", "busybox", "sleep", "600")
    assert "network nowhere not found" in engine.refused(*lost, code=125)
    engine.ok("network", "create", "nowhere")
    engine.ok(*lost)
    engine.ok("network", "create", "--subnet", "10.77.4.0/24", "learning")
    fixed = ("--net", "learning", "--ip", "10.77.4.9")
    engine.ok("run", "-d", "--name", "one", *fixed, "busybox", "sleep", "600")
    engine.ok("stop", "-t", "0", "one")
    told = engine.refused("run", "-d", "--name", "two", *fixed, "busybox", "sleep", "600", code=125)
    assert "address 10.77.4.9 belongs to container one" in told
    engine.ok("rm", "one")
    engine.ok("start", "two")
    told = engine.refused("run", "-d", "--net", "learning", "--ip", "10.78.0.9", "busybox", "true", code=125)
    assert "address 10.78.0.9 is not inside 10.77.4.0/24" in told
    assert "it still has 1 container: two" in engine.refused("network", "rm", "learning")
    assert "already exists in network learning" in engine.refused("network", "connect", "learning", "two")
    assert "learning is the last network" in engine.refused("network", "disconnect", "learning", "two")
    assert "not connected to network nowhere" in engine.refused("network", "disconnect", "nowhere", "two")
    assert "No such container: three" in engine.refused("network", "connect", "learning", "three")
    assert "network else not found" in engine.refused("network", "connect", "else", "two")


def test_a_full_network_is_told(engine: Engine) -> None:
    """A gateway and one container are all that fits."""
    engine.ok("network", "create", "--subnet", "10.77.5.0/30", "tiny")
    engine.ok("run", "-d", "--name", "one", "--net", "tiny", "busybox", "sleep", "600")
    told = engine.refused("run", "-d", "--net", "tiny", "busybox", "true", code=125)
    assert "network tiny is full: no address is left in 10.77.5.0/30" in told
    engine.ok("rm", "-f", "one")
    engine.ok("run", "--rm", "--net", "tiny", "busybox", "true")


def test_addresses_of_both_families(engine: Engine) -> None:
    """By name, and published in both."""
    engine.ok("network", "create", "--ipv6", "six")
    serve(engine, "web", "--net", "six", "-p", "18080:80", port=80)
    told = engine.ok("run", "--rm", "--net", "six", "busybox", "sh", "-c", "ping -6 -c1 -W3 web && echo yes")
    assert told.splitlines()[-1] == "yes"
    assert page("::1", 18080) == "hello"


def test_a_connected_container_that_rests_is_there_when_it_starts(engine: Engine) -> None:
    """And the wishes of `connect` hold."""
    engine.ok("network", "create", "--subnet", "10.77.6.0/24", "learning")
    engine.ok("create", "--name", "web", "busybox", "sh", "-c", SERVER.format(text="hello", port=80))
    engine.ok("network", "connect", "--alias", "www", "--ip", "10.77.6.9", "learning", "web")
    engine.ok("start", "web")
    assert address(engine, "web", "learning") == "10.77.6.9"
    until(lambda: get(engine, "learning", "http://www") == "hello", "it is found by its other name")
    assert engine.ok("ps", "--format", "{{.Networks}}") == "bridge,learning"


def test_a_policy_restart_after_the_daemons_death_keeps_the_network(engine: Engine) -> None:
    """The process dies while nobody watches: the next daemon starts it again, with its address and port."""
    serve(engine, "web", "--restart", "always", "-p", "18080:80")
    before = address(engine, "web"), engine.ok("port", "web")
    pid = engine.pid("web")
    engine.crash()
    os.kill(pid, 9)
    engine.start()
    until(lambda: engine.state("web") == "running" and engine.pid("web") not in (0, pid), "it runs again")
    assert (address(engine, "web"), engine.ok("port", "web")) == before
    until(lambda: page("127.0.0.1", 18080) == "hello", "it serves again")


def test_the_log_says_who_had_an_address(engine: Engine) -> None:
    """From when to when, also of a removed container."""
    engine.ok("run", "--name", "web", "busybox", "true")
    found = re.findall(r"bridge=([\d.]+)/", engine.ok("audit", "--no-trunc", "web"))
    engine.ok("rm", "web")
    told = engine.ok("audit", "address", found[0]).splitlines()
    assert len(told) == 2
    assert re.search(r"\bbridge\b.*\bweb\b", told[1])
    events = engine.ok("events", "--since", "10m", "--until", "0s", "-f", "type=network").splitlines()
    assert [line.split()[2] for line in events if "name=bridge" in line][-2:] == ["connect", "disconnect"]


def test_remapped_containers_are_on_networks_as_well(engine: Engine) -> None:
    """With names and published ports."""
    serve(engine, "web", "--userns", "remap", "-p", "18080:80")
    assert page("127.0.0.1", 18080) == "hello"
    script = "wget -qO- http://web; ls /sys/class/net"
    done = engine.ok("run", "--rm", "--userns", "remap", "busybox", "sh", "-c", script)
    assert done.split() == ["hello", "eth0", "lo"]


def test_of_short_runs_nothing_is_left(engine: Engine) -> None:
    """Links are deleted together, soon after."""
    for _ in range(5):
        engine.ok("run", "--rm", "busybox", "true")
    until(lambda: not [name for name in engine.interfaces() if name.startswith("lv")], "no cable stays", 5)
