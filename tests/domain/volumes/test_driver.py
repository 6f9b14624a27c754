"""The local driver's options: the words of mount(8), and nothing else."""

import pytest

from domain.errors import InvalidValue
from domain.volumes.driver import MS_BIND, MS_REC, LocalMount, checked_driver, local_mount

RO, NOEXEC = 1, 8


@pytest.mark.parametrize(("options", "mount"), [
    ({}, None),
    ({"type": "tmpfs", "device": "tmpfs"}, LocalMount("tmpfs", "tmpfs", 0, "")),
    ({"type": "tmpfs", "device": "tmpfs", "o": "size=64m,uid=1000,noexec"},
     LocalMount("tmpfs", "tmpfs", NOEXEC, "size=64m,uid=1000")),
    ({"type": "none", "device": "/srv", "o": "bind"}, LocalMount("", "/srv", MS_BIND, "")),
    ({"device": "/srv", "o": "rbind,ro"}, LocalMount("", "/srv", MS_BIND | MS_REC | RO, "")),
    ({"type": "nfs", "device": ":/export", "o": "addr=nas,rw,nfsvers=4"},
     LocalMount("nfs", ":/export", 0, "addr=nas,nfsvers=4")),
    ({"type": "ext4", "device": "/dev/sdb1", "o": "defaults,ro"}, LocalMount("ext4", "/dev/sdb1", RO, "")),
])
def test_options_become_arguments_of_mount(options: dict[str, str], mount: LocalMount | None) -> None:
    """Flags apart from what the file system reads itself."""
    assert local_mount(options) == mount


@pytest.mark.parametrize(("options", "words"), [
    ({"size": "1g"}, 'invalid option: "size"'),
    ({"type": "tmpfs"}, "missing device"),
    ({"device": "tmpfs"}, "missing type"),
    ({"type": "none", "device": "/srv"}, "missing type"),
    ({"type": "nfs", "device": ":/x"}, "missing addr"),
    ({"device": "srv", "o": "bind"}, "absolute path"),
    ({"device": "/srv", "o": "bind,size=1m"}, "invalid words 'size=1m'"),
    ({"type": "tmpfs", "device": "t", "o": "remount"}, "invalid word 'remount'"),
    ({"type": "tmpfs", "device": "t", "o": "rshared"}, "invalid word 'rshared'"),
    ({"type": "../x", "device": "t"}, "invalid type"),
    ({"type": "tmp\0fs", "device": "t"}, "invalid type"),
    ({"device": "/a\0b", "o": "bind"}, "absolute path"),
])
def test_what_is_no_mount_is_refused_with_the_word(options: dict[str, str], words: str) -> None:
    """Before anything is written down."""
    with pytest.raises(InvalidValue, match=words):
        local_mount(options)


def test_there_is_one_driver() -> None:
    """Named or not."""
    assert checked_driver("") == checked_driver("local") == "local"
    with pytest.raises(InvalidValue, match='plugin "nfs4" not found'):
        checked_driver("nfs4")
