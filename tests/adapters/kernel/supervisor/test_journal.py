"""What the exit journal promises, to anyone who pulls the plug."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.kernel.supervisor.journal import Exit, Journal, Key
from tests.examples import examples


def exit(number: int) -> Exit:
    """Some exit."""
    return {"id": f"{number:064x}", "attempt": 1, "pid": 100 + number, "start": 7, "code": number % 256, "signal": 0,
            "oom": False, "how": "self", "time": number}


def key(entry: Exit) -> Key:
    """Its key."""
    return entry["id"], entry["attempt"], entry.get("exec", "")


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the journal lies."""
    return str(tmp_path / "exits.journal")


def reopened(path: str) -> Journal:
    """As the next warden finds it."""
    return Journal(path)


def test_what_was_appended_is_there_for_the_next_warden(path: str) -> None:
    """In order."""
    journal = Journal(path)
    journal.append([exit(1), exit(2)])
    journal.append([exit(3)])
    assert reopened(path).pending() == [exit(1), exit(2), exit(3)]


def test_an_acknowledged_exit_is_not_told_again_but_remembered(path: str) -> None:
    """A late start of that run must not begin it anew."""
    journal = Journal(path)
    journal.append([exit(1), exit(2)])
    journal.acknowledge([key(exit(1)), ("unknown", 1, "")])
    for each in (journal, reopened(path)):
        assert each.pending() == [exit(2)]
        assert each.ended(key(exit(1))) == (101, 7)
        assert each.find(key(exit(1))) is None
        assert each.ended(("unknown", 1, "")) is None


@examples(100, unchecked=True)
@given(st.integers(0, 1200))
def test_a_torn_journal_keeps_every_whole_line(tmp_path: Path, cut: int) -> None:
    """The write that was cut off was promised to nobody; what is appended later is found."""
    path = str(tmp_path / "torn.journal")
    Path(path).unlink(missing_ok=True)
    journal = Journal(path)
    journal.append([exit(n) for n in range(5)])
    whole = Path(path).read_bytes().rstrip(b"\0")
    Path(path).write_bytes(whole[:cut])
    again = Journal(path)
    survivors = whole[:cut].count(b"\n")
    assert again.pending() == [exit(n) for n in range(survivors)]
    again.append([exit(9)])
    assert Journal(path).pending() == [*(exit(n) for n in range(survivors)), exit(9)]


def test_the_journal_does_not_grow_for_ever(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of acknowledged exits leave a small file, and what is pending stays."""
    journal = Journal(path)
    journal.append([exit(0)])
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    for number in range(1, 3000):
        journal.append([exit(number)])
        journal.acknowledge([key(exit(number))])
    assert os.path.getsize(path) < 1 << 19
    assert reopened(path).pending() == [exit(0)]
    assert reopened(path).ended(key(exit(2999))) == (3099, 7)
    assert reopened(path).ended(key(exit(1))) is None


def test_room_is_kept_for_a_full_disk(path: str) -> None:
    """The kernel has given the blocks before they are needed."""
    journal = Journal(path)
    journal.append([exit(1)])
    assert os.stat(path).st_blocks * 512 > 40_000


def test_after_a_failed_sync_a_new_file_is_written(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel may have dropped the dirty pages: writing the same file again and getting no error proves nothing."""
    journal = Journal(path)
    journal.append([exit(1)])

    def broken(fd: int) -> None:
        raise OSError(errno.EIO, "broken")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", broken)
        patch.setattr(os, "fsync", broken)
        for _ in range(2):
            with pytest.raises(OSError, match="broken"):
                journal.append([exit(2)])
        journal.acknowledge([key(exit(1))])
    old = os.stat(path).st_ino
    journal.append([exit(2)])
    assert os.stat(path).st_ino != old
    assert reopened(path).pending() == [exit(2)]
    assert reopened(path).ended(key(exit(1))) == (101, 7)


def test_execs_do_not_push_runs_out_of_the_memory(path: str) -> None:
    """Health checks end every few seconds; a run that ended long ago must still not be begun anew."""
    journal = Journal(path)
    journal.append([exit(1)])
    journal.acknowledge([key(exit(1))])
    for number in range(40):
        more = [{**exit(1), "exec": f"{number:x}{index:02x}", "pid": 500 + index} for index in range(20)]
        journal.append(more)
        journal.acknowledge([key(entry) for entry in more])
    for each in (journal, reopened(path)):
        assert each.ended(key(exit(1))) == (101, 7)
        assert each.ended((exit(1)["id"], 1, "2713")) == (519, 7)
        assert each.pending() == []
    assert journal.ended((exit(1)["id"], 1, "000")) is None, "of them, too, only the last ones are remembered"
