"""Limits: what is impossible is refused, the rest is written as each version of control groups spells it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue, Refused
from domain.limits import BlockDevice, BlockDevices, changed, check, complete, lines, restored, settings, weight
from domain.resources import DeviceRate, Resources
from domain.runtime.control import Control, numbers, ranges

MIB = 1 << 20
V2 = Control(
    versions=dict.fromkeys(("cpu", "cpuset", "io", "memory", "pids"), 2),
    files=frozenset({"cpu.max", "cpu.weight", "cpuset.cpus", "cpuset.mems", "io.max", "io.weight", "memory.low",
                     "memory.max", "memory.swap.max", "pids.max"}),
    processors=frozenset({0, 1}), nodes=frozenset({0}),
)
V1 = Control(
    versions=dict.fromkeys(("cpu", "cpuset", "blkio", "memory", "pids"), 1),
    files=frozenset({"cpu.shares", "cpu.cfs_period_us", "cpu.cfs_quota_us", "cpuset.cpus", "cpuset.mems",
                     "blkio.weight", "blkio.weight_device", "blkio.throttle.read_bps_device",
                     "blkio.throttle.write_bps_device", "blkio.throttle.read_iops_device",
                     "blkio.throttle.write_iops_device", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes",
                     "memory.soft_limit_in_bytes", "memory.swappiness", "memory.oom_control", "pids.max"}),
    processors=frozenset({0, 1}), nodes=frozenset({0}),
)
DISK = BlockDevices(*((BlockDevice("8:0", 100),) for _ in range(5)))


@pytest.mark.parametrize(("wanted", "first", "second"), [
    (Resources(), "pids.max 4096", "pids.max 4096"),
    (Resources(pids_limit=7), "pids.max 7", "pids.max 7"),
    (Resources(pids_limit=-1), "pids.max max", "pids.max max"),
    (Resources(pids_limit=0), "pids.max max", "pids.max max"),
    (Resources(memory=64 * MIB), "memory.limit_in_bytes 67108864|memory.memsw.limit_in_bytes 134217728",
     "memory.max 67108864|memory.swap.max 67108864"),
    (Resources(memory=64 * MIB, memory_swap=64 * MIB),
     "memory.limit_in_bytes 67108864|memory.memsw.limit_in_bytes 67108864", "memory.max 67108864|memory.swap.max 0"),
    (Resources(memory=64 * MIB, memory_swap=-1), "memory.limit_in_bytes 67108864|memory.memsw.limit_in_bytes -1",
     "memory.max 67108864|memory.swap.max max"),
    (Resources(memory_reservation=8 * MIB), "memory.soft_limit_in_bytes 8388608", "memory.low 8388608"),
    (Resources(memory_swappiness=0), "memory.swappiness 0", ""),
    (Resources(oom_kill_disable=True), "memory.oom_control 1", ""),
    (Resources(cpu_shares=512), "cpu.shares 512", "cpu.weight 50"),
    (Resources(cpu_quota=10_000), "cpu.cfs_period_us 100000|cpu.cfs_quota_us 10000", "cpu.max 10000 100000"),
    (Resources(cpu_quota=-1), "cpu.cfs_period_us 100000|cpu.cfs_quota_us -1", "cpu.max max 100000"),
    (Resources(cpu_period=50_000), "cpu.cfs_period_us 50000", "cpu.max max 50000"),
    (Resources(nano_cpus=1_500_000_000), "cpu.cfs_period_us 100000|cpu.cfs_quota_us 150000", "cpu.max 150000 100000"),
    (Resources(cpuset_cpus="0-1", cpuset_mems="0"), "cpuset.cpus 0-1|cpuset.mems 0", "cpuset.cpus 0-1|cpuset.mems 0"),
    (Resources(blkio_weight=10), "blkio.weight 10", "io.weight 1"),
    (Resources(blkio_weight=1000), "blkio.weight 1000", "io.weight 10000"),
])
def test_a_limit_is_written_as_each_version_spells_it(wanted: Resources, first: str, second: str) -> None:
    """The table of conversions; a file that a version lacks is not written."""
    for control, expected in ((V1, first), (V2, second)):
        found = [line for line in lines(settings(wanted, control)) if wanted.pids_limit is not None
                 or wanted == Resources() or not line.startswith("pids.max")]
        assert found == expected.split("|" if expected else " ") or (not expected and not found)


def test_device_rates_name_the_device_by_its_numbers() -> None:
    """Paths mean something on the host only."""
    wanted = Resources()
    assert lines(settings(wanted, V1, DISK))[1:] == (
        "blkio.weight_device 8:0 100", "blkio.throttle.read_bps_device 8:0 100",
        "blkio.throttle.write_bps_device 8:0 100", "blkio.throttle.read_iops_device 8:0 100",
        "blkio.throttle.write_iops_device 8:0 100")
    assert lines(settings(wanted, V2, DISK))[1:] == (
        "io.weight 8:0 910", "io.max 8:0 rbps=100", "io.max 8:0 wbps=100", "io.max 8:0 riops=100",
        "io.max 8:0 wiops=100")


@given(st.integers(2, 262_144), st.integers(2, 262_144))
def test_weights_keep_the_order_of_shares(one: int, other: int) -> None:
    """Who had more under version 1 has no less under version 2."""
    assert 1 <= weight(one) <= 10_000
    assert (weight(one) <= weight(other)) or one > other


def test_the_default_share_is_the_default_weight() -> None:
    """A container that asks for the default gets what all others have."""
    assert (weight(2), weight(512), weight(1024), weight(262_144)) == (1, 50, 100, 10_000)


@pytest.mark.parametrize("wanted", [
    Resources(memory=MIB), Resources(memory=-1), Resources(memory_swap=64 * MIB), Resources(memory_reservation=MIB),
    Resources(memory=64 * MIB, memory_swap=32 * MIB), Resources(memory=64 * MIB, memory_reservation=65 * MIB),
    Resources(memory_swap=-2), Resources(memory_swappiness=101), Resources(cpu_shares=1), Resources(cpu_shares=262_145),
    Resources(cpu_period=999), Resources(cpu_period=1_000_001), Resources(cpu_quota=999), Resources(cpu_quota=-2),
    Resources(nano_cpus=9_000_000), Resources(nano_cpus=3_000_000_000), Resources(nano_cpus=10**9, cpu_quota=50_000),
    Resources(nano_cpus=10**9, cpu_period=50_000), Resources(cpuset_cpus="0-2"), Resources(cpuset_cpus="x"),
    Resources(cpuset_mems="1"), Resources(cpuset_cpus="1-0"), Resources(cpuset_cpus="0-999999"),
    Resources(pids_limit=-2), Resources(blkio_weight=9), Resources(blkio_weight=1001),
    Resources(read_bps=(DeviceRate(path="/dev/sda", rate=-1),)), Resources(pids_limit=4_194_305),
    Resources(read_bps=(DeviceRate(path="/etc/passwd", rate=1),)),
    Resources(write_iops=(DeviceRate(path="/dev/a\0b", rate=1),)),
    Resources(blkio_weight_device=(DeviceRate(path="/dev/sda", rate=9),)),
    Resources(blkio_weight_device=(DeviceRate(path="/dev/sda", rate=1001),)),
])
def test_what_cannot_be_is_refused_for_every_version(wanted: Resources) -> None:
    """A number that no kernel takes is told before anything was made."""
    for control in (V1, V2):
        with pytest.raises(InvalidValue):
            check(wanted, control)


@pytest.mark.parametrize(("wanted", "file"), [
    (Resources(memory=64 * MIB), "memory."), (Resources(cpu_shares=2), "cpu."), (Resources(nano_cpus=10**9), "cpu."),
    (Resources(cpu_quota=5000), "cpu."), (Resources(cpuset_cpus="0"), "cpuset."), (Resources(pids_limit=5), "pids."),
])
def test_a_hard_limit_that_nobody_can_enforce_is_refused(wanted: Resources, file: str) -> None:
    """Who limits a container relies on it."""
    for control in (V1, V2):
        without = replace(control, files=frozenset(name for name in control.files if not name.startswith(file)))
        with pytest.raises(Refused, match="cannot be enforced"):
            check(wanted, without)


@pytest.mark.parametrize("wanted", [
    Resources(blkio_weight=500), Resources(blkio_weight_device=(DeviceRate(path="/dev/sda", rate=500),)),
    Resources(memory_reservation=8 * MIB), Resources(memory_swappiness=10),
    Resources(oom_kill_disable=True, memory=8 * MIB), Resources(read_bps=(DeviceRate(path="/dev/sda", rate=1),)),
])
def test_what_can_be_done_without_is_told(wanted: Resources) -> None:
    """Nothing is dropped in silence, and what is dropped is not written."""
    bare = replace(V2, files=frozenset({"memory.max", "memory.swap.max", "pids.max"}))
    (warning,) = check(wanted, bare)
    assert "does not support --" in warning
    assert {file for file, _ in settings(wanted, bare)} <= bare.files


def test_what_this_host_has_gives_no_warning() -> None:
    """A warning that says nothing is noise."""
    everything = Resources(memory=64 * MIB, memory_swap=-1, memory_reservation=8 * MIB, cpu_shares=5, cpuset_cpus="0",
                           nano_cpus=10**9, pids_limit=9, blkio_weight=100)
    assert check(everything, V1) == check(everything, V2) == ()
    assert check(Resources(memory_swappiness=3, oom_kill_disable=True, memory=8 * MIB), V1) == ()
    assert "no memory limit is set" in check(Resources(oom_kill_disable=True), V1)[0]
    assert "No disk of this host" in check(Resources(blkio_weight=9 * 10), replace(V1, weighing=False))[0]
    assert check(Resources(cpu_shares=5), replace(V1, weighing=False)) == ()
    assert "--kernel-memory has no effect" in check(Resources(kernel_memory=1), V1)[0]
    assert settings(Resources(kernel_memory=1 << 30), V1) == settings(Resources(), V1)


def test_swap_is_as_large_as_memory_unless_somebody_says_otherwise() -> None:
    """As users of the industry's CLI know it."""
    assert complete(Resources(memory=64 * MIB)).memory_swap == 128 * MIB
    assert complete(Resources(memory=64 * MIB, memory_swap=-1)).memory_swap == -1
    assert complete(Resources()).memory_swap == 0


def test_an_update_changes_what_it_names() -> None:
    """All else stays, and what would contradict itself is refused."""
    before = complete(Resources(memory=64 * MIB, cpu_shares=512))
    assert changed(before, {"cpu_shares": 2}) == before.model_copy(update={"cpu_shares": 2})
    with pytest.raises(InvalidValue, match="memoryswap"):
        changed(before, {"memory": 256 * MIB})
    assert changed(before, {"memory": 256 * MIB, "memory_swap": -1}).memory == 256 * MIB
    with pytest.raises(InvalidValue, match="cannot be changed"):
        changed(before, {"memory_swappiness": 5})
    with pytest.raises(InvalidValue, match="NanoCPUs"):
        changed(Resources(nano_cpus=10**9), {"cpu_quota": 5000})
    with pytest.raises(InvalidValue, match="NanoCPUs"):
        changed(Resources(cpu_quota=5000), {"nano_cpus": 10**9})


def test_a_limit_that_an_update_takes_away_is_written_as_none() -> None:
    """Else the kernel would go on with what nobody sees any more."""
    before = complete(Resources(memory=64 * MIB, memory_reservation=8 * MIB, cpu_shares=512, cpu_quota=5000,
                                cpuset_cpus="0", cpuset_mems="0"))
    assert lines(restored(before, Resources(), V1)) == (
        "memory.memsw.limit_in_bytes -1", "memory.limit_in_bytes -1", "memory.soft_limit_in_bytes -1",
        "cpu.shares 1024", "cpu.cfs_quota_us -1", "cpuset.cpus 0-1", "cpuset.mems 0", "pids.max 4096")
    assert lines(restored(before, Resources(), V2)) == (
        "memory.swap.max max", "memory.max max", "memory.low 0", "cpu.weight 100", "cpu.max max 100000",
        "cpuset.cpus 0-1", "cpuset.mems 0", "pids.max 4096")
    assert restored(Resources(), before, V2) == settings(before, V2)


@given(st.frozensets(st.integers(0, 500), min_size=1))
def test_sets_of_numbers_come_back(chosen: frozenset[int]) -> None:
    """The kernel writes sets as we do."""
    assert numbers(ranges(chosen)) == chosen
