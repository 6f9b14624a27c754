"""The bench's own code: statistics, what it reads from /proc, and its report. Nothing here is timed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bench import image, machine, report
from bench.__main__ import options
from bench.cases import CASES
from bench.engines.docker import make_missing
from bench.engines.runc import for_bench
from bench.process import Command, Failed, Nursery, alive, parse_catches_term, parse_pss, together, until
from bench.recorded import container_id, lived, whole
from bench.report import Row, Target
from bench.samples import Summary, interleave, percentile, ratio, summary
from domain.lifecycle.remove import Removed

ENVIRONMENT = {"PATH": os.environ["PATH"]}
MOUNTINFO = """\
21 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
22 21 0:5 / /tmp rw - tmpfs tmpfs rw
23 21 0:9 / /var/tmp/with\\040blank rw - overlay overlay rw
24 21 0:10 / /tmp/disk rw - xfs /dev/vdb rw
"""


def test_percentiles_lie_between_neighbours() -> None:
    """The edges of a report must not jump from one sample to the next."""
    assert [percentile([4, 1, 3, 2, 5], share) for share in (0, 0.1, 0.5, 0.9, 1)] == [1, 1.4, 3, 4.6, 5]
    assert summary([7.0]) == Summary(1, 7, 7, 7)


def test_nothing_measured_is_an_error() -> None:
    """A report without samples would show a figure that nobody has seen."""
    with pytest.raises(ValueError, match="nothing"):
        summary([])


def test_the_edges_change_sides_when_a_duration_becomes_a_rate() -> None:
    """The slowest turn is the lowest rate."""
    assert Summary(3, 10, 5, 20).inverse(100) == Summary(3, 10, 5, 20)


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    """A disturbance must hit all of them, and nobody may always be the first after it."""
    turns: list[str] = []

    def contestant(name: str) -> float:
        turns.append(name)
        return len(turns)

    samples = interleave({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=2)
    assert "".join(turns) == "ab" + "ba" + "ab"
    assert samples == {"a": [4, 5], "b": [3, 6]}


def test_a_ratio_is_ours_over_theirs() -> None:
    """Below one means that we are faster."""
    assert ratio(summary([1.0, 3.0]), summary([4.0, 4.0])) == 0.5


def test_a_target_is_met_on_its_own_side() -> None:
    """Times have an upper bound, rates a lower one."""
    fast = report.compare("run", "ms", {"lading": [1.0], "docker": [10.0]}, Target("docker", 0.15))
    slow = report.compare("rate", "/s", {"lading": [10.0], "docker": [2.0]}, Target("docker", 6, at_most=False))
    assert [row.met for row in fast + slow] == [True, False]
    assert report.missed([*fast, *slow]) == slow


def test_a_contestant_that_is_not_there_is_named() -> None:
    """On a machine without docker only our own figures are shown, and nothing counts as met."""
    (row,) = report.compare("run", "ms", {"lading": [1.0]}, Target("docker", 0.15))
    assert (row.value, row.met, row.note) == (None, None, "without docker")
    assert "without docker" in report.table([row])


def test_the_table_shows_medians_ratios_targets_and_verdicts() -> None:
    """That is what the bench is for."""
    rows = [*report.compare("run", "ms", {"lading": [1, 2, 3], "docker": [30, 40, 50]}, Target("docker", 0.01)),
            report.bound("memory", "MiB", Summary(1, 12345, 12345, 12345), 20000)]
    head, _, run, memory = report.table(rows).splitlines()
    assert head.split() == ["measured", "lading", "against", "ratio", "target"]
    assert run.split("  ")[0] == "run"
    for part in ("2 ms (1.2 … 2.8)", "docker 40 ms (32 … 48)", "0.05", "≤ 0.01", "MISSED"):
        assert part in run
    assert memory.split() == ["memory", "12", "345", "MiB", "≤", "20", "000", "MiB", "met"]


def test_the_report_is_json(tmp_path: Path) -> None:
    """Later runs are compared with it."""
    path = tmp_path / "results/now.json"
    report.write(path, [Row("run", "ms", Summary(1, 1, 1, 1), 0.1, 0.15, against="docker")], {"kernel": "6.1"})
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["kernel"], document["rows"][0]["met"], document["rows"][0]["ours"]["median"]) == ("6.1", True, 1)


def test_memory_is_read_from_the_rollup() -> None:
    """`Pss:` and not `Pss_Anon:`; kB become MiB."""
    assert parse_pss("Rss:  9000 kB\nPss:                2048 kB\nPss_Anon:   1 kB\n") == 2
    with pytest.raises(ValueError, match="Pss"):
        parse_pss("Rss: 1 kB\n")


def test_a_trap_for_sigterm_is_seen() -> None:
    """SIGTERM is signal 15: the fifteenth bit of the mask."""
    assert parse_catches_term("SigIgn:\t0\nSigCgt:\t0000000000004002\n")
    assert not parse_catches_term("SigIgn:\t0000000000004000\nSigCgt:\t0000000000008002\n")


def test_the_file_system_of_a_path_is_that_of_the_longest_mount_point() -> None:
    """A bench on a tmpfs would find that durable writes cost nothing."""
    kinds = [machine.type_of(Path(path), MOUNTINFO)
             for path in ("/var/tmp", "/tmp", "/tmp/x", "/tmp/disk/x", "/tmpx", "/var/tmp/with blank/x")]
    assert kinds == ["ext4", "tmpfs", "tmpfs", "xfs", "ext4", "overlay"]


def test_what_has_just_gone_was_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine takes its control groups away while the bench looks for them."""
    (tmp_path / "there" / "busy").mkdir(parents=True)
    monkeypatch.setattr(machine, "groups_named", lambda names: [tmp_path / name for name in names])
    (left,) = machine.clean(tmp_path, ["gone", "there"])
    assert left.startswith(f"control group {tmp_path / 'there'}: ")


def test_the_processor_is_named() -> None:
    """Figures of two machines are compared only by those who know that they are two."""
    assert machine.processor("processor\t: 0\nmodel name\t: A Chip @ 2GHz\n") == "A Chip @ 2GHz"


def test_the_bundle_runs_true_without_a_terminal() -> None:
    """runc must do what the others do: `true`, the usual capabilities, a writable root."""
    document = for_bench({"process": {"terminal": True}, "linux": {}}, "group")
    assert document["process"]["args"] == ["true"]
    assert document["process"]["terminal"] is False
    assert document["root"]["readonly"] is False
    assert document["linux"]["cgroupsPath"] == "/group/bench"


def test_directories_that_were_missing_are_known(tmp_path: Path) -> None:
    """What the bench makes outside its folder it takes away again, parents last."""
    made = make_missing((str(tmp_path / "a/b"), str(tmp_path)))
    assert made == [tmp_path / "a", tmp_path / "a/b"]


def test_a_recorded_life_follows_the_machine() -> None:
    """A made-up past must be one that the engine could have written: versions follow each other."""
    steps = lived(7, removed=True)
    assert [step.expected for step in steps] == [0, 2, 3, 5]
    assert isinstance(whole(7, removed=True).events[-1], Removed)
    assert len(whole(7, removed=False).events) == 4
    assert container_id(7) == container_id(7) != container_id(8)


def test_every_case_can_be_chosen() -> None:
    """Whoever works on one thing measures that thing."""
    assert options(["--only", *CASES, "--quick"]).only == list(CASES)


def test_a_command_is_timed_and_its_failure_tells_why() -> None:
    """The time of a command that failed means nothing."""
    assert Command(["/bin/sh", "-c", "exit 0"], ENVIRONMENT)() > 0
    assert Command(["/bin/sh", "-c", "echo $0", "x"], ENVIRONMENT).output() == "x"
    with pytest.raises(Failed, match="exit status 3: because"):
        Command(["/bin/sh", "-c", "echo because >&2; exit 3"], ENVIRONMENT)()
    with pytest.raises(Failed, match="2 of 2"):
        together([Command(["/bin/sh", "-c", "exit 1"], ENVIRONMENT)] * 2)


def test_the_nursery_leaves_no_process(tmp_path: Path) -> None:
    """Also those that left their session and lost their parent, as supervisors and shims do."""
    nursery = Nursery(tmp_path)
    script = "trap '' TERM HUP; (sleep 1000 & sleep 1000 & wait) & exit 0"
    nursery.start(["/bin/sh", "-c", script], ENVIRONMENT, "log")
    until(lambda: len(nursery.processes()) == 3, "orphans to fall to the nursery")
    orphans = nursery.processes()
    nursery.close()
    assert [pid for pid in orphans if alive(pid)] == []


@pytest.mark.slow
def test_the_bench_ends_on_an_interrupt_without_a_trace(tmp_path: Path) -> None:
    """^C is how people end a bench."""
    command = [sys.executable, "-m", "bench", "--only", "append", "--alone", "--folder", str(tmp_path)]
    process = subprocess.Popen(command, cwd=image.ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    until(lambda: bool(list(tmp_path.iterdir())), "the bench to begin")
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert list(tmp_path.iterdir()) == []
