"""Images that want out: links, pipes and devices where the engine expects files and directories."""

import os
import stat
import time
from pathlib import Path

import pytest

from tests.adapters.kernel.starter.harness import Starter

pytestmark = pytest.mark.kernel


@pytest.fixture
def outside(base: Path) -> Path:
    """A directory of the host that must stay as it is."""
    place = base / "outside"
    if not place.exists():
        place.mkdir()
        (place / "file").write_text("host\n")
    return place


def assert_untouched(outside: Path) -> None:
    """Nothing new, nothing written."""
    assert os.listdir(outside) == ["file"]
    assert (outside / "file").read_text() == "host\n"


@pytest.mark.parametrize("name", ["proc", "sys", "dev"])
@pytest.mark.parametrize("target", ["/tmp", "outside", "nowhere", "self", "file"])
def test_an_image_whose_kernel_directories_are_no_directories_does_not_start(
    box: Starter, root: Path, outside: Path, name: str, target: str
) -> None:
    """Mounts would go astray and masks with them (CVE-2019-19921, CVE-2023-27561)."""
    if target == "file":
        (root / name).write_text("")
    else:
        (root / name).symlink_to({"outside": str(outside), "self": name, "nowhere": "/nowhere"}.get(target, target))
    result = box.run(root, "true")
    assert result.failure is not None
    assert (result.failure["stage"], result.failure["exit_code"]) == ("MountAt", 125)
    assert f"/{name} of the image" in result.failure["text"]
    assert_untouched(outside)


@pytest.mark.parametrize("name", ["hosts", "hostname", "resolv.conf"])
@pytest.mark.parametrize(
    "target",
    [
        "outside",
        "../../../../../../../../outside",
        "/proc/1/root/x",
        "nowhere/at/all",
        "/etc/passwd",
        "hosts",
        "/dev/null",
    ],
)
def test_engine_files_that_are_links_are_covered_and_not_followed(
    box: Starter, root: Path, outside: Path, name: str, target: str
) -> None:
    """Inside our content is read; what the link names, inside or outside, is not written."""
    link = target.replace("outside", str(outside / "file")) if target == "outside" else target
    (root / "etc" / name).symlink_to(link)
    result = box.shell(root, f"echo added >> /etc/{name}; cat /etc/{name} /etc/passwd")
    assert result.failure is None
    assert "added" in result.lines
    assert result.lines.index("added") < result.lines.index("root:x:0:0:root:/root:/bin/sh")
    assert result.out.count("added") == 1
    assert_untouched(outside)
    assert (root / "etc" / name).is_symlink()


def test_etc_itself_may_lead_elsewhere_inside_and_never_outside(box: Starter, root: Path, outside: Path) -> None:
    """An absolute link means the container's own tree; one that leads nowhere is refused."""
    (root / "etc").rename(root / "real")
    (root / "etc").symlink_to("/real")
    assert box.run(root, "cat", "/real/hosts").lines == ["127.0.0.1 localhost"]
    (root / "etc").unlink()
    (root / "etc").symlink_to(outside)
    result = box.run(root, "true")
    assert result.failure is not None
    assert result.failure["exit_code"] == 125
    assert_untouched(outside)


@pytest.mark.parametrize("target", ["/proc", "/sys/fs", "/proc/self/cwd", "/proc/1/root", "/proc/sys"])
def test_etc_that_leads_into_the_kernels_files_does_not_start(box: Starter, root: Path, target: str) -> None:
    """Nothing of ours is mounted or made there."""
    (root / "etc").rename(root / "real")
    (root / "etc").symlink_to(target)
    result = box.run(root, "true")
    assert result.failure is not None
    assert result.failure["exit_code"] == 125


def test_an_engine_file_that_is_a_directory_is_refused(box: Starter, root: Path) -> None:
    """In one line."""
    (root / "etc/hosts").mkdir()
    result = box.run(root, "true")
    assert result.failure is not None
    assert "\n" not in result.failure["text"]


def test_engine_files_that_are_pipes_or_devices_are_covered(box: Starter, root: Path) -> None:
    """Opening them would hang or reach a driver."""
    os.mkfifo(root / "etc/hosts")
    os.mknod(root / "etc/hostname", stat.S_IFCHR | 0o600, os.makedev(1, 5))
    assert box.run(root, "cat", "/etc/hosts", "/etc/hostname").lines == ["127.0.0.1 localhost", "box"]


@pytest.mark.parametrize("kind", ["fifo", "zero", "huge", "directory", "self", "socketlike", "missing", "tty"])
@pytest.mark.parametrize("name", ["passwd", "group"])
def test_user_files_of_any_kind_are_answered_in_no_time(box: Starter, root: Path, kind: str, name: str) -> None:
    """A pipe hangs the industry's engine for ever, /dev/zero never ends."""
    file = root / "etc" / name
    file.unlink()
    if kind == "fifo":
        os.mkfifo(file)
    elif kind == "zero":
        file.symlink_to("/dev/zero")
    elif kind == "tty":
        file.symlink_to("/dev/tty")
    elif kind == "huge":
        with file.open("wb") as big:
            big.truncate(60_000_000)
    elif kind == "directory":
        file.mkdir()
    elif kind == "self":
        file.symlink_to(name)
    elif kind == "socketlike":
        file.symlink_to("/proc/self/fd/3")
    began = time.monotonic()
    assert box.shell(root, "cat /proc/self/status | grep Uid", user="55:66").lines == ["Uid:\t55\t55\t55\t55"]
    refused = box.run(root, "true", user="nosuch:nosuch")
    assert refused.failure is not None
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("workdir", [f"/proc/self/fd/{number}" for number in (3, 4, 5, 7, 9, 12, 20)])
def test_a_working_directory_named_by_descriptor_is_not_the_hosts(box: Starter, layer: Path, workdir: str) -> None:
    """Descriptors are closed for real before any path of the image is used (CVE-2024-21626)."""
    result = box.run(layer, "pwd", workdir=workdir)
    assert result.failure is not None
    assert (result.failure["stage"], result.failure["exit_code"]) == ("MakeWorkdir", 125)


@pytest.mark.parametrize("workdir", ["/link/new", "/link", "/up/new", "/tmp/../../../../new"])
def test_a_working_directory_behind_a_link_is_made_inside_or_refused(
    box: Starter, root: Path, outside: Path, workdir: str
) -> None:
    """The classic trap: a directory appears on the host (CVE-2026-55686)."""
    (root / "link").symlink_to(outside)
    (root / "up").symlink_to("../../../../../../../.." + str(outside))
    box.run(root, "true", workdir=workdir)
    assert_untouched(outside)


def test_a_descriptor_as_entrypoint_is_not_found(box: Starter, layer: Path) -> None:
    """Nothing of the host is named by /proc/self/fd."""
    result = box.run(layer, "/proc/self/fd/7")
    assert result.failure is not None
    assert result.failure["exit_code"] == 127


@pytest.mark.parametrize("init", [False, True], ids=["bare", "init"])
def test_the_supervisors_interpreter_is_no_entrypoint(box: Starter, root: Path, init: bool) -> None:
    """/proc/self/exe is the supervisor's program until the execve (CVE-2019-5736), by whatever way it is named."""
    (root / "bin/link").symlink_to("/proc/self/exe")
    (root / "links").symlink_to("/proc/self")
    for argv in ("/proc/self/exe", "/proc/thread-self/exe", "link", "/links/exe", "/proc/1/exe"):
        result = box.run(root, argv, init=init, init_program="/bin/true")
        assert result.failure is not None, argv
        assert result.failure["exit_code"] == 126


def test_tmpfs_targets_that_lead_into_the_kernels_files_are_refused(box: Starter, root: Path) -> None:
    """A tmpfs over /proc/sys/… by way of a link would unmask it."""
    (root / "trap").symlink_to("/proc/sys")
    (root / "trap2").symlink_to("/proc/self/attr")
    for target in ("/trap", "/trap2", "/trap/new"):
        result = box.run(root, "true", tmpfs={target: ""})
        assert result.failure is not None, target
        assert result.failure["exit_code"] == 125


def test_devices_in_the_image_do_not_replace_ours(box: Starter, root: Path) -> None:
    """The mask source is our own node: /dev is covered before anything in it is used."""
    (root / "dev").mkdir()
    (root / "dev/null").write_text("prepared")
    os.mknod(root / "dev/sda", stat.S_IFBLK | 0o666, os.makedev(8, 0))
    result = box.shell(root, "cat /dev/null /proc/keys; ls /dev/sda 2>/dev/null; cat /proc/timer_list")
    assert result.out == ""


def test_fifos_and_links_in_path_do_not_stop_the_search(box: Starter, root: Path) -> None:
    """The lookup only executes."""
    (root / "a").mkdir()
    os.mkfifo(root / "a/true")
    (root / "b").symlink_to("b")
    assert box.run(root, "true", env=("PATH=/a:/b:/nosuch:/bin",)).failure is None
