"""What can be wished for a container changes that container, and means no more than it says."""

from pathlib import Path

import pytest

from tests.tutorial.engine import Engine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

PARAMETERS = Path("/proc/sys")


def watched() -> dict[str, str]:
    """Kernel parameters of the host that somebody might want to change through a container. Not ip_forward: engines
    switch that on themselves."""
    names = ("kernel/core_pattern", "kernel/shmmax", "kernel/msgmax", "kernel/modprobe", "net/ipv4/ip_default_ttl",
             "vm/overcommit_memory", "fs/file-max", "kernel/hostname", "kernel/domainname", "fs/mqueue/msg_max")
    return {name: (PARAMETERS / name).read_text() for name in names if (PARAMETERS / name).exists()}


@pytest.mark.parametrize("value", [
    "kernel.core_pattern=|/evil", "kernel/core_pattern=|/evil", "kernel.shmmax=1\nkernel.core_pattern=|/evil",
    "kernel.shm_rmid_forced=1+kernel.core_pattern=|/evil", "net.ipv4.ip_forward/../../../kernel/core_pattern=|/evil",
    "net/../kernel/core_pattern=|/evil", "net.ipv4....core_pattern=1", "vm.overcommit_memory=1",
    "kernel.modprobe=/evil",
    "fs.file-max=1", "kernel.msgmax/../core_pattern=x", "kernel.shm*=1", "kernel.sem", "=1", ".=1", "kernel.=1",
    "fs.mqueue.=1", "kernel.shmmax =1", " kernel.shmmax=1", "kernel.domainname=evil", "user.max_user_namespaces=1",
])
def test_a_kernel_parameter_of_the_host_is_not_set(engine: Engine, value: str) -> None:
    """Only those that belong to a namespace, by a name that is one; elsewhere a `+` or a slash let others pass
    (CVE-2022-0811)."""
    before = watched()
    done = engine.cli("run", "--rm", "--sysctl", value, "busybox", "true")
    assert done.code == 125, done
    assert done.err.strip()
    assert watched() == before


def test_a_parameter_of_the_network_needs_a_network_of_its_own(engine: Engine) -> None:
    """With the host's it would be the host's."""
    before = watched()
    wish = ("--sysctl", "net.ipv4.ip_default_ttl=77")
    assert engine.cli("run", "--rm", "--network", "host", *wish, "busybox", "true").code == 125
    assert engine.ok("run", "--rm", *wish, "busybox", "cat", "/proc/sys/net/ipv4/ip_default_ttl") == "77"
    assert watched() == before


@pytest.mark.parametrize("option", ["--hostname", "--domainname"])
@pytest.mark.parametrize("value", ["a\nb", "a\n1.2.3.4 bank.example", "a b", "a\tb", "\x1b[2J", "x" * 300, "a\x01"])
def test_a_name_does_not_bring_a_line_into_the_files_of_the_engine(engine: Engine, option: str, value: str) -> None:
    """Control characters and blanks are refused."""
    done = engine.cli("run", "--rm", option, value, "busybox", "cat", "/etc/hosts")
    assert (done.code, done.out) == (125, ""), done


@pytest.mark.parametrize("group", ["4294967296", "2147483648", "-1", "nosuch", "", "0x0", "a:b", "1\n2"])
def test_a_further_group_is_one_that_there_is(engine: Engine, group: str) -> None:
    """Never one that has wrapped."""
    assert engine.cli("run", "--rm", "--group-add", group, "busybox", "id", "-G").code == 125


def test_a_further_group_is_the_containers(engine: Engine) -> None:
    """By number or by a name of its own group file, besides the primary one."""
    said = engine.ok("run", "--rm", "-u", "7:8", "--group-add", "9", "busybox", "id", "-G")
    assert set(said.split()) == {"8", "9"}


@pytest.mark.parametrize("size", ["64m", "1m"])
def test_shared_memory_has_the_size_that_was_wished(engine: Engine, size: str) -> None:
    """And an exec the same."""
    script = "head -c 200000000 /dev/zero >/dev/shm/x 2>/dev/null; wc -c </dev/shm/x; rm /dev/shm/x"
    engine.ok("run", "-d", "--name", "it", "--shm-size", size, "busybox", "sleep", "1000")
    assert int(engine.ok("exec", "it", "sh", "-c", script)) == int(size[:-1]) << 20


@pytest.mark.parametrize("limit", ["nofile=2:1", "nofile=x", "nosuch=1", "nofile=1:2:3", "nofile", "=1", "nofile=-2",
                                   "nofile=1\n", "nofile=99999999999999999999999"])
def test_a_limit_that_is_none_is_refused(engine: Engine, limit: str) -> None:
    """Before anything is made."""
    assert engine.cli("run", "--rm", "--ulimit", limit, "busybox", "true").code == 125
    assert engine.everything() == []


def test_the_engine_is_not_protected_less_when_a_container_is_more(engine: Engine) -> None:
    """A score for the killer of processes is the container's; the engine's own stay."""
    before = scores(engine)
    assert engine.ok("run", "--rm", "--oom-score-adj", "900", "busybox", "cat", "/proc/self/oom_score_adj") == "900"
    assert engine.ok("run", "--rm", "busybox", "cat", "/proc/self/oom_score_adj") == "0"
    assert scores(engine) == before


def scores(engine: Engine) -> list[str]:
    """Of each of the engine's processes."""
    return [Path(f"/proc/{pid}/oom_score_adj").read_text() for pid in engine.processes().roles.values()]


@pytest.mark.parametrize("option", ["--cpuset-cpus", "--cpuset-mems"])
@pytest.mark.parametrize("value", ["1-9223372036854775807", "0-4294967295", "0,1-99999999999", "0-", "-1", "a",
                                   "0-0\n1"])
def test_a_list_of_processors_without_an_end_costs_nothing(engine: Engine, option: str, value: str) -> None:
    """Elsewhere it was written out in memory (CVE-2018-20699)."""
    daemon = engine.processes()["daemon"]
    before = resident(daemon)
    done = engine.cli("run", "--rm", option, value, "busybox", "true", timeout=10)
    assert done.code != 0, done
    assert "internal" not in done.err
    assert resident(daemon) - before < 32 << 20
    assert engine.processes()["daemon"] == daemon


def resident(pid: int) -> int:
    """Bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) << 12


@pytest.mark.parametrize("way", ["the first process", "an exec"])
def test_shared_memory_counts_against_the_limit_of_memory(engine: Engine, way: str) -> None:
    """Nobody keeps more than was granted by not owning it."""
    script = "head -c 60000000 /dev/zero >/dev/shm/x; wc -c </dev/shm/x"
    limit = ("--memory", "32m", "--memory-swap", "32m")
    if way == "an exec":
        engine.ok("run", "-d", "--name", "it", *limit, "busybox", "sleep", "1000")
        done = engine.cli("exec", "it", "sh", "-c", script)
    else:
        done = engine.cli("run", "--name", "it", *limit, "busybox", "sh", "-c", script)
    assert "60000000" not in done.out, done
    assert engine.listens()


def test_a_fork_bomb_stops_at_its_limit_and_the_engine_does_not(engine: Engine) -> None:
    """In the container and from an exec; the engine answers meanwhile, and ends all of it."""
    engine.ok("run", "-d", "--init", "--name", "bomb", "--pids-limit", "100", "busybox", "sh", "-c",
              "f() { f | f & }; f; exec sleep 1000")
    for _ in range(5):
        engine.cli("exec", "-d", "bomb", "sh", "-c", "f() { f | f & }; f; sleep 100")
        assert engine.ok("ps", "-q")
        assert max(_held_still(engine, "bomb").values()) <= 100
    assert _refused_forks(engine)
    assert engine.ok("run", "--rm", "busybox", "echo", "alive") == "alive"
    engine.ok("rm", "-f", "bomb")
    assert engine.groups() == {}


def _held_still(engine: Engine, name: str) -> dict[str, int]:
    """How many processes each control group has; paused, since the lists of the hierarchies are read in turn."""
    engine.ok("pause", name)
    figures = {group: len(pids) for group, pids in engine.groups().items()}
    engine.ok("unpause", name)
    return figures


def _refused_forks(engine: Engine) -> int:
    """By the limits of all its containers (cgroup v2 document, `pids.events`)."""
    events = Path("/sys/fs/cgroup").glob(f"*/{engine.group_root}/*.*/pids.events")
    return sum(int(path.read_text().split()[1]) for path in events)
