"""What a layer becomes on disk: the rules of applying one, entry by entry."""

import os
import stat
import tarfile
from pathlib import Path

import pytest

from adapters.attributes import TOP, flags
from adapters.images.spreading import spread_out
from adapters.images.unpack import Expected, Limits
from domain.errors import Refused
from tests.adapters.images.conftest import Layers
from tests.adapters.images.tars import (
    END,
    archive,
    device,
    directory,
    fifo,
    file,
    hardlink,
    header,
    member,
    padded,
    symlink,
    tree,
)

pytestmark = pytest.mark.kernel  # changing the root and making device nodes needs root

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


def whiteout(path: Path) -> bool:
    """Whether overlayfs sees a removed name there."""
    status = os.lstat(path)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def opaque(path: Path) -> bool:
    """Whether overlayfs hides what lies below the directory."""
    try:
        return os.getxattr(path, "trusted.overlay.opaque") == b"y"
    except OSError:
        return False


def test_everything_arrives_as_the_archive_says(layers: Layers) -> None:
    """Types, modes, owners, times, targets, numbers."""
    fs = layers.add(
        archive(
            directory("d", mode=0o2750, uid=5, gid=6, mtime=77),
            file("d/f", b"abc", mode=0o4755, uid=7, gid=8, mtime=88),
            symlink("d/s", "f", uid=9),
            hardlink("d/h", "d/f"),
            device("d/c", 1, 3, mode=0o666),
            fifo("d/p"),
            device("d/b", 7, 9, tarfile.BLKTYPE, mode=0o640, uid=3),
        )
    )
    found = tree(fs, times=True)
    second = 10**9
    assert found["d"] == f"d 2750 5:6 @{77 * second}"
    assert found["d/f"].startswith("f 4755 7:8 ba7816bf8f01 x2")
    assert found["d/f"].endswith(f"@{88 * second}")
    assert found["d/h"] == found["d/f"]
    assert found["d/s"] == f"l 777 9:0 -> f @{1_000_000 * second}"
    assert found["d/c"] == f"c 666 0:0 1:3 @{1_000_000 * second}"
    assert found["d/b"] == f"b 640 3:0 7:9 @{1_000_000 * second}"
    assert found["d/p"].startswith("p 644 0:0")


def test_nanoseconds_and_times_before_1970_are_kept(layers: Layers) -> None:
    """As far as the file system takes them."""
    fs = layers.add(
        archive(
            file("a", pax={"mtime": "1234567890.123456789"}),
            file("b", pax={"mtime": "-86400.5"}),
            file("c", pax={"mtime": "99999999999999"}),
        )
    )
    assert os.stat(fs / "a").st_mtime_ns == 1234567890123456789
    assert os.stat(fs / "b").st_mtime_ns == -86400_500_000_000
    assert (fs / "c").exists()


def test_directory_times_survive_what_is_made_in_them(layers: Layers) -> None:
    """They are set when everything else is there."""
    fs = layers.add(
        archive(directory("d", mtime=5), file("d/a"), directory("d/e", mtime=6), file("d/e/b"), file("d/c"))
    )
    assert (os.stat(fs / "d").st_mtime, os.stat(fs / "d/e").st_mtime) == (5, 6)


@pytest.mark.parametrize("target", ["b", "a"])
def test_a_directory_that_was_replaced_lends_its_time_to_nobody(layers: Layers, target: str) -> None:
    """A link may lead to another directory of that name by now, or round in a circle."""
    entries = directory("b/d", mtime=5), directory("a/d", mtime=6), file("a"), symlink("a", target)
    fs = layers.add(archive(*entries))
    assert os.stat(fs / "b/d").st_mtime == 5


def test_a_group_of_a_directory_is_not_inherited(layers: Layers) -> None:
    """A set-group-ID directory gives its group to what is made in it, unless the owner is set."""
    fs = layers.add(archive(directory("d", mode=0o2775, gid=50), file("d/f"), directory("d/e"), symlink("d/s", "f")))
    found = tree(fs)
    assert (found["d/f"].split()[2], found["d/e"][:9], found["d/s"].split()[2]) == ("0:0", "d 755 0:0", "0:0")


def test_capabilities_survive_the_change_of_owner(layers: Layers) -> None:
    """chown(2) clears them, so they come after it; and so it is with the set-user-ID bit."""
    fs = layers.add(
        archive(file("f", mode=0o4755, uid=5, pax={"SCHILY.xattr.security.capability": os.fsdecode(CAPABILITY)}))
    )
    assert os.getxattr(fs / "f", "security.capability") == CAPABILITY
    assert stat.S_IMODE(os.stat(fs / "f").st_mode) == 0o4755


def test_only_capabilities_and_user_attributes_are_set(layers: Layers) -> None:
    """What steers overlayfs or other systems is not the image's to say."""
    pax = {
        f"SCHILY.xattr.{key}": "y"
        for key in (
            "user.mine",
            "trusted.overlay.opaque",
            "trusted.evil",
            "user.overlay.opaque",
            "user.overlay.redirect",
            "security.selinux",
            "system.posix_acl_access",
        )
    }
    fs = layers.add(archive(directory("d", pax=pax), file("d/f", pax=pax)))
    assert os.listxattr(fs / "d") == ["user.mine"]
    assert os.listxattr(fs / "d/f") == ["user.mine"]


def test_the_last_entry_of_a_name_wins(layers: Layers) -> None:
    """Whatever was there goes first, with all that was in it."""
    fs = layers.add(
        archive(
            file("a", b"1"),
            file("a", b"2"),
            directory("b"),
            file("b/inner"),
            symlink("b", "x"),
            symlink("c", "a"),
            file("c", b"3"),
            symlink("d", "/etc"),
            directory("d"),
            file("e"),
            directory("e"),
            file("e/f"),
        )
    )
    assert {name: text.split()[0] for name, text in tree(fs).items()} == {
        "a": "f",
        "b": "l",
        "c": "f",
        "d": "d",
        "e": "d",
        "e/f": "f",
    }
    assert (fs / "a").read_bytes() == b"2"


def test_a_directory_over_a_directory_keeps_what_is_in_it(layers: Layers) -> None:
    """Only its attributes are those of the later entry."""
    fs = layers.add(archive(directory("d", mode=0o700, uid=1), file("d/f"), directory("d", mode=0o755, gid=2, mtime=9)))
    assert tree(fs, times=True)["d"] == f"d 755 0:2 @{9 * 10**9}"
    assert (fs / "d/f").exists()


def test_a_removed_name_becomes_overlayfs_mark(layers: Layers) -> None:
    """Size and type of the marker do not matter."""
    layers.add(archive(directory("d"), file("d/a"), file("d/b"), file("d/c")))
    fs = layers.add(archive(directory("d"), file("d/.wh.a", b""), file("d/.wh.b", b"size"), directory("d/.wh.c")))
    assert [whiteout(fs / "d" / name) for name in "abc"] == [True] * 3


def test_a_file_beats_a_removal_of_its_name_in_either_order(layers: Layers) -> None:
    """Removals speak of the layers below."""
    layers.add(archive(file("a"), file("b"), directory("c"), file("c/old"), directory("d"), file("d/old")))
    fs = layers.add(
        archive(
            file("a", b"new"),
            file(".wh.a"),
            file(".wh.b"),
            file("b", b"new"),
            directory("c"),
            file("c/new"),
            file(".wh.c"),
            file(".wh.d"),
            file("d/new"),
        )
    )
    assert ((fs / "a").read_bytes(), (fs / "b").read_bytes()) == (b"new", b"new")
    assert (opaque(fs / "c"), opaque(fs / "d")) == (True, True), "a new directory hides the removed one"


def test_an_opaque_mark_hides_what_is_below_and_not_beside(layers: Layers) -> None:
    """Siblings of the same layer stay, before and after the mark."""
    layers.add(archive(directory("d"), file("d/old")))
    fs = layers.add(
        archive(directory("d"), file("d/first"), file("d/.wh..wh..opq"), file("d/second"), file("e/.wh..wh..opq"))
    )
    assert opaque(fs / "d")
    assert opaque(fs / "e")
    assert sorted(os.listdir(fs / "d")) == ["first", "second"]


def test_marks_in_the_lowest_layer_mean_nothing(layers: Layers) -> None:
    """There is nothing to hide."""
    fs = layers.add(archive(directory("d"), file("d/.wh.a"), file("d/.wh..wh..opq"), device("z", 0, 0)))
    assert os.listdir(fs / "d") == []
    assert not opaque(fs / "d")
    assert not (fs / "z").exists()


def test_other_marks_of_aufs_are_skipped(layers: Layers) -> None:
    """They were aufs' own business."""
    layers.add(archive(file("a")))
    fs = layers.add(archive(directory(".wh..wh.plnk"), file(".wh..wh.plnk/1.2"), file(".wh..wh.aufs"), file("ok")))
    assert os.listdir(fs) == ["ok"]


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "d/.wh.", "d/.wh..", "d/.wh.../"])
def test_a_removal_of_nothing_is_refused(name: str, layers: Layers) -> None:
    """What would it remove?"""
    layers.add(archive(directory("d")))
    with pytest.raises(Refused, match=r"unusable entry.*whiteout"):
        layers.add(archive(file(name)))


def test_a_device_0_0_is_a_removal(layers: Layers) -> None:
    """It would be one as soon as the layer is mounted; in the lowest layer it is nothing."""
    layers.add(archive(file("a")))
    fs = layers.add(archive(device("a", 0, 0), file("b"), device("b", 0, 0)))
    assert whiteout(fs / "a")
    assert (fs / "b").read_bytes() == b"data"


def test_implied_parents_are_as_in_the_layers_below(layers: Layers) -> None:
    """A private directory does not become public because a layer has a file in it."""
    layers.add(
        archive(
            directory("p", mode=0o700, uid=5, gid=6, mtime=7, pax={"SCHILY.xattr.user.a": "b"}),
            directory("tmp", mode=0o1777),
        )
    )
    layers.add(archive(directory("p/q", mode=0o710, gid=9)))
    fs = layers.add(archive(file("p/q/f"), file("tmp/g"), file("new/h")))
    found = tree(fs, times=True)
    assert found["p"] == f"d 700 5:6 user.a=b'b' @{7 * 10**9}"
    assert found["p/q"] == f"d 710 0:9 @{1_000_000 * 10**9}"
    assert found["tmp"].startswith("d 1777 0:0")
    assert found["new"] == "d 755 0:0 @0"


def test_implied_parents_do_not_look_below_an_opaque_directory_or_a_removal(layers: Layers) -> None:
    """What is hidden has no attributes."""
    layers.add(archive(directory("a", mode=0o700), directory("a/b", mode=0o711), directory("c", mode=0o700)))
    layers.add(archive(directory("a", mode=0o705), file("a/.wh..wh..opq"), file(".wh.c")))
    fs = layers.add(archive(file("a/b/f"), file("c/f")))
    assert (tree(fs)["a"][:5], tree(fs)["a/b"][:5], tree(fs)["c"][:5]) == ("d 705", "d 755", "d 755")


def test_the_root_directory_is_as_in_the_layers_below_unless_it_is_in_the_layer(layers: Layers) -> None:
    """The uppermost layer decides what the container's root looks like."""
    first = layers.add(archive(directory("./", mode=0o711, uid=3)))
    second = layers.add(archive(file("f")))
    third = layers.add(archive(directory(".", mode=0o755)))
    assert [(stat.S_IMODE(os.stat(fs).st_mode), os.stat(fs).st_uid) for fs in (first, second, third)] == [
        (0o711, 3),
        (0o711, 3),
        (0o755, 0),
    ]


def test_a_hard_link_to_a_lower_layer_brings_the_file_here(layers: Layers) -> None:
    """Both names are then one file, with everything that belongs to it."""
    layers.add(
        archive(
            file(
                "bin",
                b"x" * 100_000,
                mode=0o4711,
                uid=5,
                pax={"SCHILY.xattr.security.capability": os.fsdecode(CAPABILITY)},
            ),
            symlink("l", "bin"),
            device("c", 1, 5),
            directory("d"),
        )
    )
    fs = layers.add(archive(hardlink("also", "/bin"), hardlink("l2", "l"), hardlink("c2", "c")))
    assert os.stat(fs / "also").st_ino == os.stat(fs / "bin").st_ino
    assert tree(fs)["bin"].startswith("f 4711 5:0")
    assert os.getxattr(fs / "also", "security.capability") == CAPABILITY
    assert (fs / "also").read_bytes() == b"x" * 100_000
    assert os.readlink(fs / "l2") == "bin"
    assert tree(fs)["c2"].endswith("1:5")


@pytest.mark.parametrize(
    "entry",
    [hardlink("h", "nowhere"), hardlink("h", "d"), hardlink("h", "/"), hardlink("h", "h"), hardlink("h", "gone")],
)
def test_a_hard_link_to_nothing_or_a_directory_is_refused(entry: tuple[tarfile.TarInfo, bytes], layers: Layers) -> None:
    """With the name of the entry."""
    layers.add(archive(file("gone")))
    layers.add(archive(directory("d"), file(".wh.gone")))
    with pytest.raises(Refused, match='unusable entry "h"'):
        layers.add(archive(entry))


def test_a_hard_link_over_something_replaces_it(layers: Layers) -> None:
    """As every later entry does."""
    fs = layers.add(
        archive(
            file("a", b"a"), directory("b"), file("b/c"), hardlink("b", "a"), hardlink("b", "a"), hardlink("a", "a")
        )
    )
    assert tree(fs)["b"] == tree(fs)["a"]


def test_sparse_files_have_holes(layers: Layers) -> None:
    """Only what is data takes room, and the content is the same."""
    records = b"29 GNU.sparse.size=104857600\n" + b"28 GNU.sparse.map=1048576,3\n"
    data = header(b"pax", b"x", size=len(records)) + padded(records) + header(b"f", size=3) + padded(b"abc") + END
    fs = layers.add(data)
    status = os.stat(fs / "f")
    assert (status.st_size, status.st_blocks < 100) == (104_857_600, True)
    with (fs / "f").open("rb") as content:
        content.seek(1048576)
        assert content.read(4) == b"abc\0"
    assert layers.record.size == 104_857_600


def test_runs_of_zeros_take_no_room(layers: Layers) -> None:
    """A bomb of zeros costs neither memory nor disk."""
    fs = layers.add(archive(file("f", bytes(5_000_000) + b"end"), file("g", bytes(3_000_000))))
    assert (fs / "f").read_bytes() == bytes(5_000_000) + b"end"
    assert os.stat(fs / "g").st_size == 3_000_000
    assert os.stat(fs / "g").st_blocks < 1000


def test_the_layer_ends_where_the_archive_says_but_counts_to_the_last_byte(layers: Layers) -> None:
    """Padding and rubbish behind the end marker belong to the diff id."""
    data = archive(file("f")) + bytes(4096) + b"and some text"
    fs = layers.add(data)
    assert os.listdir(fs) == ["f"]
    assert layers.record.tar_size == len(data)


@pytest.mark.parametrize("data", [b"", bytes(512), bytes(1024), archive()])
def test_empty_layers_are_layers(data: bytes, layers: Layers) -> None:
    """Old archives hold such files."""
    assert os.listdir(layers.add(data)) == []
    assert layers.record.size == 0


def test_a_layer_that_is_not_what_was_promised_is_refused(layers: Layers) -> None:
    """Both digests are named, and nothing is kept."""
    wrong = "sha256:" + "0" * 64
    for expected in (
        Expected("layer 1", diff_id=wrong),
        Expected("layer 1", blob=wrong),
        Expected("layer 1", size=5),
        Expected("layer 1", size=1 << 20),
    ):
        with pytest.raises(Refused, match="layer 1") as caught:
            layers.add(archive(file("f")), expected)
        assert expected.size != -1 or wrong in caught.value.message
    assert os.listdir(layers.content.layers) == []
    assert os.listdir(layers.content.tmp) == []
    assert os.listdir(layers.content.blobs) == []


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        (Limits(bytes=10_000, reserve=0), "unpacks to more than 10000 bytes"),
        (Limits(entries=2, reserve=0), "more than 2 entries"),
    ],
)
def test_more_than_the_limit_is_refused(limits: Limits, text: str, layers: Layers) -> None:
    """Also what only claims to be large."""
    layers.limits = limits
    with pytest.raises(Refused, match=text):
        layers.add(archive(file("a", b"x" * 6000), file("b", b"x" * 6000), file("c")))


def test_a_full_disk_is_nobodys_fault(layers: Layers) -> None:
    """The reserve is kept free: the error says so, and does not blame the archive."""
    layers.limits = Limits(reserve=1 << 60)
    with pytest.raises(Exception, match="cannot be stored: No space left") as caught:
        layers.add(archive(file("a", os.urandom(18 << 20))))
    assert not isinstance(caught.value, Refused)


def test_unknown_kinds_of_entries_are_left_out(layers: Layers) -> None:
    """They mean nothing here."""
    assert os.listdir(layers.add(archive(member("odd", b"Z"), file("f")))) == ["f"]


def test_a_layer_is_a_tree_of_its_own_to_the_file_system(layers: Layers, tmp_path: Path) -> None:
    """Where it is unpacked it begins at a place of its own, away from all other layers; inside of it things that belong
    together lie together."""
    root = layers.add(archive(directory("d")))
    fd, above = os.open(root, os.O_RDONLY), os.open(layers.content.tmp, os.O_RDONLY)
    try:
        assert (flags(above) & TOP, flags(fd) & TOP) == (TOP, 0)
    except OSError:
        pytest.skip("this file system has no such mark")
    finally:
        os.close(fd)
        os.close(above)
    spread_out("/proc")  # nor has this one, and nothing happens
