"""What need not be sent again: only what cannot have changed."""

import io
import os
import random
import tarfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from adapters.tar.pack import HIDDEN, KEPT, Sink
from adapters.tar.reader import Damaged
from adapters.tar.unchanged import Spared, is_settled, listed, read_end, stat_bytes
from tests.adapters.tar.packing import packed

_NOW = 1_700_000_000_123_456_789
_TWO_SECONDS = 2 * 10**9


def always(status: os.stat_result, now: int) -> bool:
    """Of a file system whose clock is as fine as can be."""
    return True


def stats(changed: int, device: int = os.makedev(8, 1)) -> os.stat_result:
    """Of a file that was changed at that time."""
    return cast(os.stat_result, SimpleNamespace(st_ctime_ns=changed, st_dev=device))


class Sender:
    """Packs one directory again and again, and knows each time what was sent before."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._known: dict[str, bytes] = {}

    def send(self, hides: str = "") -> list[str]:
        """The names of what was sent this time, the directory itself left out."""
        spared = Spared(listed(map(os.fsencode, self._known), self._known.values()), _NOW, always)
        return self._remember(
            packed(self._place, judge=lambda name: HIDDEN if name.decode() == hides else KEPT, spared=spared)
        )

    def _remember(self, data: bytes) -> list[str]:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            names = [os.path.normpath(member.name) for member in tar]
            end = tar.offset + 1024
        places, sent = read_end(data[end:])
        before = list(self._known.items())
        self._known = dict([before[place] for place in places] + [(names[number - 1], told) for number, told in sent])
        return names[1:]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A few files in a directory."""
    (tmp_path / "d").mkdir()
    for name in ("a", "d/b", "d/c"):
        (tmp_path / name).write_text(f"this is {name[-1]}")
    return tmp_path


def test_what_was_sent_is_not_sent_again(tree: Path) -> None:
    """Only directories and links are: they cost nothing, and need no reading."""
    (tree / "l").symlink_to("a")
    sender = Sender(tree)
    assert sender.send() == ["a", "d", "d/b", "d/c", "l"]
    assert sender.send() == ["d", "l"]
    assert sender.send() == ["d", "l"]


def test_a_change_that_hides_itself_is_seen(tree: Path) -> None:
    """Of the same size, with its old times set again: the time of the change itself cannot be set."""
    sender = Sender(tree)
    sender.send()
    before = (tree / "a").stat()
    (tree / "a").write_text("THIS IS A")
    os.utime(tree / "a", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert sender.send() == ["a", "d"]


def test_another_file_in_its_place_is_seen(tree: Path) -> None:
    """Also when it was made before, and has the same size and times."""
    before = (tree / "a").stat()
    (tree / "new").write_text("THIS IS A")
    os.utime(tree / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
    sender = Sender(tree)
    sender.send()
    (tree / "new").rename(tree / "a")
    assert sender.send() == ["a", "d"]


@pytest.mark.parametrize("change", [lambda path: path.chmod(0o600), lambda path: os.link(path, path.parent / "z")])
def test_whatever_changes_a_file_is_seen(tree: Path, change: object) -> None:
    """What is known of it are its mode, its owner and its attributes, too; files with several names always come."""
    sender = Sender(tree)
    sender.send()
    assert callable(change)
    change(tree / "a")
    assert "a" in sender.send()


def test_a_file_that_changes_while_it_is_read_comes_again(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is told of a file is from before it was read."""
    sender, copy = Sender(tree), Sink.copy

    def changing(sink: Sink, fd: int, count: int) -> int:
        missing = copy(sink, fd, count)
        (tree / "a").write_text("THIS IS A")
        return missing

    with monkeypatch.context() as patch:
        patch.setattr(Sink, "copy", changing)
        sender.send()
    assert sender.send() == ["a", "d"]


def test_what_is_gone_or_hidden_is_neither_sent_nor_left_out(tree: Path) -> None:
    """And a directory that is hidden is there as long as something in it is."""
    sender = Sender(tree)
    sender.send()
    (tree / "a").unlink()
    assert sender.send(hides="d") == ["d"]
    assert sender.send(hides="d/b") == ["d"]
    assert sender.send() == ["d", "d/b"]


def test_a_file_that_was_changed_just_now_is_not_known(tree: Path) -> None:
    """It could be changed once more without any difference; the same for a clock that was set back since."""
    assert is_settled(stats(_NOW - _TWO_SECONDS), _NOW)
    assert not is_settled(stats(_NOW - _TWO_SECONDS + 1), _NOW)
    assert not is_settled(stats(_NOW + 3600 * 10**9), _NOW)


def test_a_clock_that_is_not_fine_or_not_ours_is_not_believed() -> None:
    """Whole seconds are what old file systems know, hundredths is FAT; servers and programs have no device."""
    assert not is_settled(stats(1_600_000_000 * 10**9), _NOW)
    assert not is_settled(stats(1_600_000_000_120_000_000), _NOW)
    assert not is_settled(stats(_NOW - 10 * _TWO_SECONDS, os.makedev(0, 44)), _NOW)


@pytest.mark.parametrize("moment", [-5 * 10**18, 10**19])
def test_times_may_be_anything(tree: Path, moment: int) -> None:
    """Before 1970, and after what 64 bits can count."""
    with suppress(OSError):  # not every file system has them
        os.utime(tree / "a", ns=(moment, moment))
    sender = Sender(tree)
    sender.send()
    assert sender.send() == ["d"]


def test_lists_that_are_damaged_are_wrong(tree: Path) -> None:
    """Neither end believes the other one that there is more than has come."""
    told = stat_bytes((tree / "a").stat())
    known = listed([b"a", b"b"], [told, told])
    spared = Spared(known, _NOW, always)
    spared.spares(b"a", (tree / "a").stat())
    spared.sent(1, (tree / "a").stat())
    end = spared.end()
    assert list(read_end(end)[0]) == [0]
    assert list(read_end(end)[1]) == [(1, told)]
    for length in range(1, len(end)):
        with pytest.raises(Damaged):
            read_end(end[:length])
    for length in range(1, len(known)):
        with pytest.raises(Damaged):
            Spared(known[:length], _NOW)
    chance = random.Random(5)
    for _ in range(200):
        try:
            read_end(chance.randbytes(chance.randrange(1, 100)))
        except Damaged:
            continue
