"""Mounts: every form that is typed, and what cannot be."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidValue
from domain.mounts import Mount, checked_mounts, clean, parse_mount, parse_volume


@pytest.mark.parametrize(("text", "mount"), [
    ("/srv:/data", Mount(type="bind", source="/srv", target="/data", create=True)),
    ("/srv/:/data/./x/:ro", Mount(type="bind", source="/srv", target="/data/x", read_only=True, create=True)),
    ("./www:/data", Mount(type="bind", source="/srv/ann/www", target="/data", create=True)),
    ("../x:/data:rw,Z", Mount(type="bind", source="/srv/x", target="/data", relabel="Z", create=True)),
    (".:/d:rslave,cached", Mount(type="bind", source="/srv/ann", target="/d", propagation="rslave", create=True)),
    ("data:/data:nocopy", Mount(type="volume", source="data", target="/data", copy_image=False)),
    ("/data", Mount(type="volume", target="/data", anonymous=True)),
])
def test_every_form_of_a_volume_is_understood(text: str, mount: Mount) -> None:
    """As users of the industry's CLI type it; a path with a dot belongs to the client's directory."""
    assert parse_volume(text, "/srv/ann") == mount


@pytest.mark.parametrize(("text", "mount"), [
    ("type=bind,src=/srv,dst=/data", Mount(type="bind", source="/srv", target="/data")),
    ("type=bind,source=/srv,target=/data,readonly", Mount(type="bind", source="/srv", target="/data", read_only=True)),
    ("type=bind,src=/srv,destination=/data,ro=false,bind-propagation=rslave,bind-nonrecursive=true",
     Mount(type="bind", source="/srv", target="/data", propagation="rslave", recursive=False)),
    ('type=bind,"src=/s,v",dst=/data', Mount(type="bind", source="/s,v", target="/data")),
    ("type=tmpfs,dst=/cache,tmpfs-size=64m,tmpfs-mode=1777",
     Mount(type="tmpfs", target="/cache", options="size=67108864,mode=1777")),
    ("type=tmpfs,dst=/cache,ro", Mount(type="tmpfs", target="/cache", options="ro", read_only=True)),
    ("src=data,dst=/data,volume-nocopy,volume-subpath=a/b",
     Mount(type="volume", source="data", target="/data", copy_image=False, subpath="a/b")),
])
def test_every_form_of_a_mount_is_understood(text: str, mount: Mount) -> None:
    """A source of the host must be there: nothing is made."""
    assert parse_mount(text) == mount


@pytest.mark.parametrize("text", [
    "", ":", "/srv:", ":/data", "/srv:data", "/srv:/", "/srv:/data:xx", "/srv:/data:ro,rw", "/srv:/data:ro:z",
    "/srv:/a/../b", "/srv:/proc", "/srv:/proc/sys", "/srv:/dev", "/srv:/data:z,Z", "/srv:/data\0",
])
def test_a_volume_that_makes_no_sense_is_refused(text: str) -> None:
    """Before anything is made, with the value."""
    with pytest.raises(InvalidValue):
        parse_volume(text, "/")


@pytest.mark.parametrize("text", [
    "", "type=bind", "type=bind,dst=/data", "type=bind,src=srv,dst=/data", "type=npipe,dst=/data", "what=ever",
    "type=bind,src=/srv,dst=/data,dst=/x", "type=bind,src=/srv,dst=/data,tmpfs-size=1m", "type=tmpfs,src=/x,dst=/data",
    "type=tmpfs,dst=/data,tmpfs-size=lots", "type=tmpfs,dst=/data,tmpfs-mode=9", "type=tmpfs,dst=/sys",
    "type=bind,src=/srv,dst=/data,ro=perhaps", "type=bind,src=/srv,dst=/data,bind-propagation=up",
])
def test_a_mount_that_makes_no_sense_is_refused(text: str) -> None:
    """Unknown keys, keys of another type, values that are none."""
    with pytest.raises(InvalidValue):
        parse_mount(text)


@given(st.text(max_size=40))
def test_any_text_is_understood_or_refused(text: str) -> None:
    """No other way out, and what comes out is clean."""
    for parse in (partial(parse_volume, cwd="/"), parse_mount):
        try:
            mount = parse(text)
        except InvalidValue:
            continue
        assert clean(mount.target) == mount.target


def test_figures_of_the_host_may_be_replaced_in_proc() -> None:
    """File systems of other programs show smaller ones."""
    assert parse_volume("/var/lib/lxcfs/proc/meminfo:/proc/meminfo", "/").target == "/proc/meminfo"


def test_parents_come_first_and_nothing_twice() -> None:
    """What lies in a mount is mounted after it."""
    one, other = (Mount(type="bind", source="/srv", target=target) for target in ("/a/b", "/a"))
    assert checked_mounts([one, other], ["/tmp"]) == (other, one)
    for also in (["/a/b"], ["/a/./b/"]):
        with pytest.raises(InvalidValue, match="Duplicate mount point: /a/b"):
            checked_mounts([one], also)
    with pytest.raises(InvalidValue, match="Duplicate mount point"):
        checked_mounts([one, one], [])


@pytest.mark.parametrize("mount", [
    Mount(type="volume", source="a/b", target="/data"), Mount(type="volume", source="..", target="/data"),
    Mount(type="volume", source="data", target="/data", propagation="rslave"),
    Mount(type="volume", source="data", target="/data", subpath="a/../../b"),
    Mount(type="volume", source="data", target="/data", subpath="/etc"),
    Mount(type="volume", source="data", target="/data", driver_options={"size": "1g"}),
    Mount(type="bind", source="srv", target="/data"), Mount(type="bind", source="/srv", target="/data/"),
    Mount(type="tmpfs", target="/data", options="size=x"), Mount(type="tmpfs", target="/sys"),
])
def test_what_cannot_be_honoured_is_refused_for_programs_as_well(mount: Mount) -> None:
    """They send mounts as they are, without typing them."""
    with pytest.raises(InvalidValue):
        checked_mounts([mount], [])
