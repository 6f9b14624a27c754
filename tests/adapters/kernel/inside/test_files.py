"""The way into containers' files, without an engine: overlays of a few layers, and a process that stands for a run."""

import asyncio
import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from adapters.kernel.files import ContainerFiles
from adapters.kernel.supervisor import process
from domain.copying import Found
from domain.errors import KernelError, NotFound, Refused
from domain.ports.files import Access
from domain.ports.runtime import StartedProcess

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

ID = "ab" * 32


@pytest.fixture
def files(tmp_path: Path) -> ContainerFiles:
    """Two layers, `a` below `b`."""
    for name in ("a", "b"):
        (tmp_path / "l" / name / "etc").mkdir(parents=True)
        (tmp_path / "l" / name / "etc" / name).write_text(f"of {name}")
        (tmp_path / "l" / name / "etc" / "both").write_text(f"of {name}")
    os.symlink("/etc", tmp_path / "l" / "a" / "link")
    (tmp_path / "containers").mkdir()
    return ContainerFiles(tmp_path, tmp_path / "l")


async def always() -> bool:
    """It rests."""
    return True


async def taken(access: Access, path: str, name: str = "x") -> dict[str, bytes]:
    """The files of what is packed."""
    data = b"".join([piece async for piece in access.pack(path, name)])
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: found.read() for entry in tar if (found := tar.extractfile(entry))}


def tar(**members: str) -> bytes:
    """A small archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, text in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    """One after the other."""
    for piece in data:
        yield piece


def tree(root: Path) -> set[str]:
    """What is below."""
    return {str(path.relative_to(root)) for path in root.rglob("*")}


async def test_layers_are_seen_as_one_and_reading_makes_nothing(files: ContainerFiles, tmp_path: Path) -> None:
    """Not even a directory, for a container that was never started."""
    before = tree(tmp_path)
    async with files.resting(ID, ["a", "b"], always) as access:
        assert await access.look("/etc/both") == Found("file", "/etc/both")
        assert await access.look("/link") == Found("link", "/link", "/etc")
        assert await access.look("/link/") == Found("directory", "/link/")
        assert await access.look("/link", follow=True) == Found("directory", "/link")
        assert await access.look("/nothing") == Found("missing", "/nothing")
        assert await taken(access, "/etc") == {"x/a": b"of a", "x/b": b"of b", "x/both": b"of b"}
    assert tree(tmp_path) == before


async def test_one_layer_is_enough_to_be_read(files: ContainerFiles) -> None:
    """An overlay would need two."""
    async with files.resting(ID, ["a"], always) as access:
        assert await taken(access, "/etc/.", ".") == {"a": b"of a", "both": b"of a"}


@pytest.mark.parametrize("count", [3, 120, 450])
async def test_any_number_of_layers(files: ContainerFiles, tmp_path: Path, count: int) -> None:
    """More than fit in one page of mount options, too, where the kernel takes them one by one."""
    names = [f"layer{number:04}" for number in range(count)]
    for name in names:
        (tmp_path / "l" / name).mkdir()
        (tmp_path / "l" / name / name).write_text(name)
    try:
        async with files.resting(ID, names, always) as access:
            assert len(await taken(access, "/", ".")) == count
    except KernelError as error:
        if "lowerdir+" in str(error):
            pytest.skip("before 6.8 there are no more layers than a page names")
        raise


async def test_what_is_written_is_in_the_writable_layer(files: ContainerFiles, tmp_path: Path) -> None:
    """And in no other one."""
    async with files.resting(ID, ["a", "b"], always, writable=True) as access:
        passed = await access.spread("/link/", pieces(tar(new="mine", both="mine")))
        assert passed.entries == 2
    upper = tmp_path / "containers" / ID / "upper"
    assert (upper / "etc" / "new").read_text() == (upper / "etc" / "both").read_text() == "mine"
    assert (tmp_path / "l" / "b" / "etc" / "both").read_text() == "of b"
    async with files.resting(ID, ["a", "b"], always) as access:
        assert (await taken(access, "/etc"))["x/both"] == b"mine"


async def test_a_start_calls_off_who_writes_although_nobody_gives_him_anything(files: ContainerFiles) -> None:
    """It is over before the start goes on, and the writer is told why."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield tar(new="mine")[:600]
        begun.set()
        await go_on.wait()

    async def write() -> None:
        async with files.resting(ID, ["a", "b"], always, writable=True) as access:
            await access.spread("/etc", slow())

    writing = asyncio.ensure_future(write())
    await asyncio.wait_for(begun.wait(), 20)
    await asyncio.wait_for(files.call_off(ID), 20)
    with pytest.raises(Refused, match="was started while files were copied into it"):
        await asyncio.wait_for(writing, 20)


async def test_who_comes_after_the_start_does_not_write(files: ContainerFiles, tmp_path: Path) -> None:
    """He is told before anything is mounted."""

    async def never() -> bool:
        return False

    with pytest.raises(Refused):
        async with files.resting(ID, ["a", "b"], never, writable=True):
            raise AssertionError("nobody is inside")
    assert not (tmp_path / "containers" / ID).exists()


async def test_writers_take_turns(files: ContainerFiles) -> None:
    """One is inside, the other one waits."""
    inside = 0

    async def write(name: str) -> None:
        nonlocal inside
        async with files.resting(ID, ["a", "b"], always, writable=True) as access:
            inside += 1
            assert inside == 1
            await access.spread("/etc", pieces(tar(**{name: name})))
            inside -= 1

    await asyncio.gather(*(write(f"f{number}") for number in range(5)))
    async with files.resting(ID, ["a", "b"], always) as access:
        assert {f"x/f{number}" for number in range(5)} <= set(await taken(access, "/etc"))


@pytest.fixture
def run() -> Iterator[StartedProcess]:
    """A process in a mount namespace of its own, with something mounted in it."""
    script = "mount -t tmpfs none /mnt && echo inside > /mnt/f && echo ready && exec sleep 600"
    child = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    yield StartedProcess(child.pid, process.start_time(child.pid), "")
    child.kill()
    child.communicate()


async def test_a_run_is_seen_through_its_own_mounts(files: ContainerFiles, run: StartedProcess) -> None:
    """Or without them."""
    async with files.running(ID, run) as access:
        assert await taken(access, "/mnt") == {"x/f": b"inside\n"}
    async with files.running(ID, run, whole=False) as access:
        assert await access.look("/mnt/f") == Found("missing", "/mnt/f")


async def test_nothing_can_be_written_where_only_reading_was_asked_for(
    files: ContainerFiles, run: StartedProcess
) -> None:
    """The kernel sees to it."""
    async with files.running(ID, run) as access:
        with pytest.raises(Refused, match="read-only"):
            await access.spread("/mnt", pieces(tar(f="x")))


async def test_another_process_under_the_same_number_is_not_entered(
    files: ContainerFiles, run: StartedProcess
) -> None:
    """Pids come again; the moment of the start does not."""
    for gone in (StartedProcess(run.pid, run.start_time + 1, ""), StartedProcess(2**22 - 1, 5, "")):
        with pytest.raises(KernelError):
            async with files.running(ID, gone):
                raise AssertionError("nobody is inside")


async def test_a_broken_archive_and_a_missing_place_are_told(files: ContainerFiles) -> None:
    """Also when much more would come."""

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"no archive" * 10_000

    async with files.resting(ID, ["a", "b"], always, writable=True) as access:
        with pytest.raises(Refused, match="damaged"):
            await asyncio.wait_for(access.spread("/etc", endless()), 20)
    async with files.resting(ID, ["a", "b"], always, writable=True) as access:
        with pytest.raises(NotFound):
            await asyncio.wait_for(access.spread("/nowhere", endless()), 20)


async def test_nobody_is_left_when_a_reader_stops_half_way(files: ContainerFiles, tmp_path: Path) -> None:
    """The process ends with the access."""
    (tmp_path / "l" / "a" / "big").write_bytes(bytes(10 << 20))
    (tmp_path / "l" / "a" / "big").write_bytes(os.urandom(10 << 20))
    async with files.resting(ID, ["a", "b"], always) as access:
        async for _ in access.pack("/big", "x"):
            break
    marked = [pid for pid in os.listdir("/proc") if pid.isdigit() and str(tmp_path).encode() in _command(pid)]
    assert marked == []


def _command(pid: str) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
