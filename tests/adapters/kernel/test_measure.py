"""What the meter reads, from groups of every version, laid out in a folder as the kernel lays them out."""

from pathlib import Path

import pytest

from adapters.kernel.cgroups import Tree
from adapters.kernel.measure import GroupMeter
from domain.ports.files import Usage

PARENT, GROUP = "lading-1", "abc.2"


def written(place: Path, **files: str) -> None:
    """Files of one group; `__` stands for a dot."""
    place.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (place / name.replace("__", ".")).write_text(text)


def unified(root: Path, controllers: str = "cpu io memory pids", group: str = GROUP) -> None:
    """A group of version 2."""
    written(root, cgroup__controllers=controllers)
    written(
        root / PARENT / group,
        cpu__stat="usage_usec 1500\nuser_usec 1000\nsystem_usec 500\n",
        memory__current="5000000\n", memory__max="max\n",
        memory__stat="anon 1\nfile 2\ninactive_file 1000000\n",
        io__stat="8:0 rbytes=100 wbytes=20 rios=1 wios=1 dbytes=0 dios=0\n8:16 rbytes=5 wbytes=7 rios=1 wios=1\n",
        pids__current="7\n", cgroup__procs="11\n12\n",
    )  # fmt: skip


def legacy(root: Path) -> tuple[tuple[str, str], ...]:
    """The same in version 1."""
    blocks = "8:0 Read 100\n8:0 Write 20\n8:0 Sync 1\n8:0 Total 120\n8:16 Read 5\n8:16 Write 7\nTotal 132\n"
    written(root / "cpu,cpuacct" / PARENT / GROUP, cpuacct__usage="1500000\n")
    written(root / "memory" / PARENT / GROUP, memory__usage_in_bytes="5000000\n", memory__stat=(
        "cache 9\ninactive_file 3\ntotal_cache 9\ntotal_inactive_file 1000000\n"),
        memory__limit_in_bytes="9223372036854771712\n")
    written(root / "blkio" / PARENT / GROUP, blkio__throttle__io_service_bytes_recursive=blocks)
    written(root / "pids" / PARENT / GROUP, pids__current="7\n")
    return tuple((str(root / name), name) for name in ("cpu,cpuacct", "memory", "blkio", "pids"))


async def read(tree: Tree, *ids: str) -> dict[str, Usage]:
    """Without the moment, which is never the same."""
    found = await GroupMeter(tree).usage(ids or ("abc",))
    return {id: Usage(0, u.cpu, u.memory, u.limit, u.read, u.written, u.processes) for id, u in found.items()}


WHOLE = Usage(0, 1_500_000, 4_000_000, 0, 105, 27, 7)


async def test_version_2(tmp_path: Path) -> None:
    """All of it from one directory."""
    unified(tmp_path)
    assert await read(Tree(PARENT, str(tmp_path), ())) == {"abc": WHOLE}


async def test_version_1(tmp_path: Path) -> None:
    """Each from the directory of its controller; the largest number there is means no limit."""
    assert await read(Tree(PARENT, "", legacy(tmp_path))) == {"abc": WHOLE}


async def test_both_at_once(tmp_path: Path) -> None:
    """Version 2 without controllers, and version 1 with them."""
    unified(tmp_path / "unified", "")
    assert await read(Tree(PARENT, str(tmp_path / "unified"), legacy(tmp_path))) == {"abc": WHOLE}


async def test_a_limit_counts(tmp_path: Path) -> None:
    """Of either version."""
    unified(tmp_path / "u")
    written(tmp_path / "u" / PARENT / GROUP, memory__max="8388608\n")
    assert (await read(Tree(PARENT, str(tmp_path / "u"), ())))["abc"].limit == 8 << 20
    tree = Tree(PARENT, "", legacy(tmp_path))
    written(tmp_path / "memory" / PARENT / GROUP, memory__limit_in_bytes="8388608\n")
    assert (await read(tree))["abc"].limit == 8 << 20


async def test_what_the_kernel_was_built_without_is_zero(tmp_path: Path) -> None:
    """Processes are then counted one by one."""
    unified(tmp_path, "")
    found = (await read(Tree(PARENT, str(tmp_path), ())))["abc"]
    assert found == Usage(0, 1_500_000, 0, 0, 0, 0, 2)
    legacy(tmp_path)
    (tmp_path / "blkio" / PARENT / GROUP / "blkio.throttle.io_service_bytes_recursive").unlink()
    tree = Tree(PARENT, "", tuple((str(tmp_path / n), n) for n in ("cpu,cpuacct", "memory", "blkio", "pids")))
    assert (await read(tree))["abc"] == Usage(0, 1_500_000, 4_000_000, 0, 0, 0, 7)


async def test_the_last_run_counts_and_who_is_gone_is_missing(tmp_path: Path) -> None:
    """A group that is being taken away is no error."""
    unified(tmp_path)
    unified(tmp_path, group="abc.10")
    written(tmp_path / PARENT / "abc.10", pids__current="99\n")
    (tmp_path / PARENT / "half.1").mkdir()
    tree = Tree(PARENT, str(tmp_path), ())
    found = await read(tree, "abc", "half", "nobody")
    assert set(found) == {"abc"}
    assert found["abc"].processes == 99


async def test_before_the_first_container_there_is_nothing(tmp_path: Path) -> None:
    """Not even the directory."""
    assert await read(Tree(PARENT, str(tmp_path / "none"), ())) == {}


async def test_traffic_is_that_of_a_network_of_its_own(tmp_path: Path) -> None:
    """Told by the first process that still lives, also when all of them are in groups below; the loopback device and
    the interfaces of the host do not count."""
    unified(tmp_path / "u")
    written(tmp_path / "u" / PARENT / GROUP, cgroup__procs="")
    written(tmp_path / "u" / PARENT / GROUP / "inner", cgroup__procs="11\n12\n")
    rest = "1 0 0 0 0 0 0"
    table = f"Inter-|\n face |\n    lo: 900 {rest} 900 {rest}\n  eth0: 100 {rest} 20 {rest}\n  eth1:5 {rest} 7 {rest}\n"
    for pid, network in (("self", "net:[1]"), ("12", "net:[2]")):
        (tmp_path / "proc" / pid / "ns").mkdir(parents=True)
        (tmp_path / "proc" / pid / "ns" / "net").symlink_to(network)
    written(tmp_path / "proc" / "12" / "net", dev=table)
    meter = GroupMeter(Tree(PARENT, str(tmp_path / "u"), ()), str(tmp_path / "proc"))
    usage = (await meter.usage(("abc",)))["abc"]
    assert (usage.received, usage.sent) == (105, 27)
    (tmp_path / "proc" / "12" / "ns" / "net").unlink()
    (tmp_path / "proc" / "12" / "ns" / "net").symlink_to("net:[1]")
    usage = (await meter.usage(("abc",)))["abc"]
    assert (usage.received, usage.sent) == (0, 0)


@pytest.mark.slow
async def test_a_hundred_containers_are_read_in_a_moment(tmp_path: Path) -> None:
    """It happens every second."""
    for number in range(100):
        unified(tmp_path, group=f"{number:x}.1")
    meter, ids = GroupMeter(Tree(PARENT, str(tmp_path), ())), [f"{number:x}" for number in range(100)]
    found = await meter.usage(ids)
    assert len(found) == 100
    assert max(u.time for u in found.values()) - min(u.time for u in found.values()) < 500_000_000
    assert meter.memory() > 1 << 20
