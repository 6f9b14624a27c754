"""Groups: the fence, freezing, killing, counting and removing, on whatever versions this host has."""

import errno
import os
import signal
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.kernel import cgroups, syscalls
from adapters.kernel.cgroups import Group, Tree
from adapters.kernel.cgroups.devices import attach_v2, restrict_v1
from domain.runtime import devices
from tests.adapters.kernel.starter.harness import Starter

HYBRID = """24 1 254:0 / / rw - ext4 /dev/vda rw
30 24 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755
31 30 0:27 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd
33 30 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct
34 30 0:30 / /sys/fs/cgroup/devices rw - cgroup cgroup rw,devices
35 30 0:31 / /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer
36 30 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
37 30 0:32 / /mnt/again rw - cgroup cgroup rw,memory
38 30 0:33 / /sys/fs/cgroup/net_cls rw - cgroup cgroup rw,net_cls,net_prio
"""


def detected(tmp_path: Path, text: str) -> Tree:
    """The tree of a host with this mount table."""
    (tmp_path / "mountinfo").write_text(text)
    return cgroups.detect("p", str(tmp_path / "mountinfo"))


def test_a_hybrid_host_has_both_and_each_hierarchy_once(tmp_path: Path) -> None:
    """Version 2 first: it is the fence. Devices and the freezer are version 2's there."""
    tree = detected(tmp_path, HYBRID)
    assert tree.v2
    assert tree.v1 == ("cpu,cpuacct", "memory")
    assert tree.roots() == ["/sys/fs/cgroup/unified/p", "/sys/fs/cgroup/cpu,cpuacct/p", "/sys/fs/cgroup/memory/p"]


def test_without_version_2_devices_and_the_freezer_are_joined_too(tmp_path: Path) -> None:
    """Nothing else could hold or deny."""
    tree = detected(tmp_path, "\n".join(line for line in HYBRID.splitlines() if "cgroup2" not in line) + "\n")
    assert not tree.v2
    assert tree.v1 == ("cpu,cpuacct", "devices", "freezer", "memory")
    assert tree.directory("cpuacct", "g") == "/sys/fs/cgroup/cpu,cpuacct/p/g"


def test_a_pure_version_2_host_has_no_other(tmp_path: Path) -> None:
    """And one root."""
    tree = detected(tmp_path, "30 24 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n")
    assert (tree.v2, tree.v1, tree.roots()) == (True, (), ["/sys/fs/cgroup/p"])


@pytest.fixture(params=["host", "version 1"])
def tree(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Tree]:
    """The host's tree, and the one that the same host would have without version 2."""
    everything = Path("/proc/self/mountinfo").read_text()
    legacy = "".join(line for line in everything.splitlines(keepends=True) if " cgroup2 " not in line)
    if request.param == "version 1" and not all(f"/{name} " in legacy for name in ("freezer", "devices")):
        pytest.skip("no version 1 freezer here")
    (tmp_path / "mountinfo").write_text(everything if request.param == "host" else legacy)
    tree = cgroups.detect(f"lading-groups{os.getpid()}", str(tmp_path / "mountinfo"))
    tree.prepare()
    yield tree
    assert tree.groups() == []
    for root in tree.roots():
        os.rmdir(root)


@pytest.fixture
def group(tree: Tree) -> Iterator[Group]:
    """A group without processes."""
    group = tree.create("g" * 64, 1, ("pids.max 50",))
    yield group
    group.kill()
    group.remove(5)


def sleeper(group: Group, count: int = 1) -> list[int]:
    """Processes in the group that sleep."""
    pids = []
    for _ in range(count):
        pid, _ = syscalls.clone3(0, cgroup=group.v2_fd)
        if pid == 0:
            for fd in group.tasks:
                os.write(fd, b"0")
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
            while True:
                signal.sigwait({signal.SIGTERM})
        pids.append(pid)
    await_members(group, set(pids))
    return pids


def await_members(group: Group, pids: set[int]) -> None:
    """Wait until they are in every hierarchy."""
    deadline = time.monotonic() + 5
    while any(members(directory) != pids for directory in group.directories()) and time.monotonic() < deadline:
        os.sched_yield()


def members(directory: str) -> set[int]:
    """The processes in one hierarchy."""
    return set(map(int, Path(directory, "cgroup.procs").read_text().split()))


@pytest.mark.kernel
def test_the_same_attempt_cannot_be_made_twice(tree: Tree, group: Group) -> None:
    """The directory is the fence: whoever comes second has acted already."""
    with pytest.raises(FileExistsError):
        tree.create("g" * 64, 1)
    assert tree.groups() == [("g" * 64, 1)]
    again = tree.open("g" * 64, 1)
    assert len(again.tasks) == len(tree.v1)
    again.close_fds()
    with pytest.raises(FileNotFoundError):
        tree.open("g" * 64, 2)


@pytest.mark.kernel
def test_a_group_counts_its_processes_and_kills_them_all(group: Group) -> None:
    """In every hierarchy, also frozen ones."""
    pids = sleeper(group, 3)
    assert sorted(group.pids()) == sorted(pids)
    assert group.populated()
    assert all(members(directory) == set(pids) for directory in group.directories())
    group.freeze()
    group.kill()
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert not group.populated()
    assert group.pids() == []


@pytest.mark.kernel
def test_frozen_processes_do_not_run_and_thawed_ones_do(group: Group) -> None:
    """A signal is not taken while its process is frozen."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})  # a handler could run right before the pause
    pid, _ = syscalls.clone3(0, cgroup=group.v2_fd)
    if pid == 0:
        for fd in group.tasks:
            os.write(fd, b"0")
        signal.sigwait({signal.SIGUSR1})
        os._exit(5)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    await_members(group, {pid})
    group.freeze()
    os.kill(pid, signal.SIGUSR1)
    assert os.waitpid(pid, os.WNOHANG) == (0, 0)
    group.thaw()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


@pytest.mark.kernel
def test_a_group_with_processes_stays_until_they_are_gone(group: Group) -> None:
    """EBUSY, and the fence stays with it."""
    (pid,) = sleeper(group)
    with pytest.raises(OSError, match="busy"):
        group.remove(0.01)
    assert os.path.isdir(group.directories()[0])
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    group.remove(5)
    group.remove()
    assert not any(map(os.path.exists, group.directories()))


@pytest.mark.kernel
def test_a_group_that_is_gone_is_quiet(tree: Tree) -> None:
    """Every question after the removal has an answer."""
    group = tree.create("f" * 64, 2)
    group.remove()
    group.kill()
    assert (group.populated(), group.pids(), group.oom_kills()) == (False, [], 0)
    with pytest.raises(FileNotFoundError):
        group.freeze()


@pytest.mark.kernel
def test_the_limit_of_processes_holds(tree: Tree, group: Group) -> None:
    """A fork bomb ends at it."""
    directory = tree.directory("pids", group.name)
    if not directory:
        pytest.skip("no pids controller here")
    assert Path(directory, "pids.max").read_text().strip() == "50"


@pytest.mark.kernel
def test_preparing_again_changes_nothing(tree: Tree, group: Group) -> None:
    """A new supervisor does it while containers live."""
    before = [os.stat(root).st_ino for root in tree.roots()]
    tree.prepare()
    assert [os.stat(root).st_ino for root in tree.roots()] == before
    assert tree.groups() == [("g" * 64, 1)]


@pytest.mark.kernel
def test_a_process_killed_for_memory_is_counted(tree: Tree, group: Group) -> None:
    """The counter is read once, at the end: no watcher is needed."""
    directory = tree.directory("memory", group.name)
    if not directory:
        pytest.skip("no memory controller here")
    assert group.oom_kills() == 0
    for name in ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max", "memory.swap.max"):
        if os.path.exists(f"{directory}/{name}"):
            Path(directory, name).write_text("0" if "swap.max" in name else str(16 << 20))
    pid, _ = syscalls.clone3(0, cgroup=group.v2_fd)
    if pid == 0:
        for fd in group.tasks:
            os.write(fd, b"0")
        hoard = bytearray(64 << 20)
        os._exit(hoard[0])
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert group.oom_kills() >= 1


@pytest.mark.kernel
def test_device_rules_hold_in_every_kind_of_group(tree: Tree, base: Path, layer: Path) -> None:
    """Also where version 1 has to deny, and after a second preparation beside a living group."""
    tree.prepare()
    keeper = tree.create("k" * 64, 1)
    tree.prepare()

    def attempt() -> list[int]:
        answers = []
        for minor in (1, 3):
            os.mknod(f"/tmp/{minor}", stat.S_IFCHR | 0o600, os.makedev(1, minor))
            try:
                os.close(os.open(f"/tmp/{minor}", os.O_RDONLY))
                answers.append(0)
            except OSError as error:
                answers.append(error.errno or -1)
        return answers

    try:
        assert Starter(base, tree).probe(layer, attempt) == [errno.EPERM, 0]
    finally:
        keeper.remove()


def verdict(group: Group, node: Path) -> int:
    """What the kernel says to a process of the group that opens this node of a device that does not exist."""
    pid, _ = syscalls.clone3(0, cgroup=group.v2_fd)
    if pid == 0:
        try:
            for fd in group.tasks:
                os.write(fd, b"0")
            os.open(node, os.O_RDONLY)
        except OSError as error:
            os._exit(error.errno or 0)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def node(tmp_path: Path) -> Path:
    """A node of a device that nobody drives: ENXIO for whoever may open it."""
    path = tmp_path / "disk"
    os.mknod(path, stat.S_IFBLK | 0o600, os.makedev(240, 99))
    return path


MORE = (*devices.DEFAULT, "b 240:99 r")


@pytest.mark.kernel
def test_a_group_is_closed_until_it_is_given_more_and_others_stay_closed(tree: Tree, group: Group, node: Path) -> None:
    """With either version; giving it twice is fine."""
    assert verdict(group, node) == errno.EPERM
    for _ in range(2):
        group.allow_devices(MORE, devices.ebpf(MORE).hex())
        assert verdict(group, node) == errno.ENXIO
    other = tree.create("f" * 64, 1)
    assert verdict(other, node) == errno.EPERM
    other.remove(5)


@pytest.mark.kernel
def test_what_an_older_engine_has_left_on_the_parent_is_replaced(tree: Tree, node: Path) -> None:
    """It kept all groups below from having more."""
    if tree.v2:
        attach_v2(tree.roots()[0], devices.ebpf(()))
    else:
        restrict_v1(tree.directory("devices", ""))
    tree.prepare()
    group = tree.create("g" * 64, 1)
    assert verdict(group, node) == errno.EPERM
    group.allow_devices(MORE, devices.ebpf(MORE).hex())
    assert verdict(group, node) == errno.ENXIO
    group.remove(5)
