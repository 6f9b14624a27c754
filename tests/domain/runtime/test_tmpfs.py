"""Options of --tmpfs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.runtime import tmpfs


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", (14, "", False)),
        ("rw", (14, "", False)),
        ("ro", (15, "", False)),
        ("exec", (6, "", False)),
        ("exec,suid,dev", (0, "", False)),
        ("size=64m,mode=1777", (14, "size=67108864,mode=1777", True)),
        ("size=10k", (14, "size=10240", False)),
        ("size=50%", (14, "size=50%", False)),
        ("size=1GB", (14, "size=1073741824", False)),
        ("uid=1000,gid=5,nr_inodes=10", (14, "uid=1000,gid=5,nr_inodes=10", False)),
        ("exec,noexec", (14, "", False)),
    ],
)
def test_known_options_become_flags_and_data(text: str, wanted: tuple[int, str, bool]) -> None:
    """Without any, nothing in it runs, is a device, or changes the user."""
    assert tmpfs.options(text) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "bind",
        "size=",
        "size=-1",
        "size=1x",
        "size=mb",
        "mode=9",
        "mode=",
        "uid=-1",
        "uid=3000000000",
        "size=1,upperdir=/",
        "mpol=bind",
        "remount",
        "size=1 2",
        "source=/dev/sda",
    ],
)
def test_unknown_options_are_refused(text: str) -> None:
    """Whatever gets through reaches mount(2)."""
    with pytest.raises(InvalidValue):
        tmpfs.options(text)


@given(text=st.text(max_size=30))
def test_only_known_keys_reach_the_kernel(text: str) -> None:
    """For any text."""
    try:
        _, data, _ = tmpfs.options(text)
    except InvalidValue:
        return
    assert all(
        part.partition("=")[0] in ("size", "mode", "uid", "gid", "nr_inodes") for part in data.split(",") if part
    )


@pytest.mark.parametrize(
    ("path", "wanted"),
    [("/run", "/run"), ("//run///x/", "/run/x"), ("/./a", "/a"), ("/dev/x", "/dev/x"), ("/procession", "/procession")],
)
def test_targets_are_cleaned(path: str, wanted: str) -> None:
    """One spelling for one place."""
    assert tmpfs.target(path) == wanted
