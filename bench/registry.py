"""A registry of its own on loopback, an image of several layers made of this machine's files, and processor time."""

import hashlib
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.image import ROOT
from bench.process import Failed, until

LAYERS = 5
_SOURCES = ("/usr/lib", "/usr/share", "/usr/bin")
_LARGEST = 4 << 20
_TICKS = os.sysconf("SC_CLK_TCK")


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """An empty one; its host name. Raises Failed where docker-registry cannot be had."""
    found = subprocess.run([str(ROOT / ".ci/registry")], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Failed(f"no docker-registry: {found.stderr.strip()}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    data = folder / f"registry-{port}"
    data.mkdir()
    config = (
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {data}}}}}\nhttp: {{addr: '127.0.0.1:{port}', secret: x}}\n"
    )
    (data / "config.yml").write_text(config, encoding="ascii")
    argv = [found.stdout.strip(), "serve", str(data / "config.yml")]
    quiet = subprocess.DEVNULL
    with subprocess.Popen(argv, stdin=quiet, stdout=quiet, stderr=quiet, env={"PATH": "/usr/bin"}) as process:
        try:
            until(lambda: _listens(port), "the registry to listen")
            yield f"127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(data, ignore_errors=True)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def saved_image(path: Path, size: int, name: str) -> int:
    """Write a docker-archive of an image whose layers hold about `size` bytes of this machine's programs and texts; how
    many they are."""
    layers = [_layer(files) for files in _portions(size)]
    ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {"os": "linux", "architecture": "amd64", "config": {"Cmd": ["sh"]},
              "rootfs": {"type": "layers", "diff_ids": ids}}  # fmt: skip
    names = {f"{number}/layer.tar": layer for number, layer in enumerate(layers)}
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": list(names)}]
    with tarfile.open(path, "w") as tar:
        for entry, data in {
            "manifest.json": json.dumps(manifest).encode(), "config.json": json.dumps(config).encode(), **names,
        }.items():  # fmt: skip
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return sum(map(len, layers))


def small_files(path: Path, count: int) -> None:
    """Write a layer of so many files of 1 KiB, a hundred in a directory."""
    with tarfile.open(path, "w") as tar:
        for number in range(count):
            if number % 100 == 0:
                folder = tarfile.TarInfo(f"{number // 100}")
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
            info = tarfile.TarInfo(f"{number // 100}/{number}")
            info.size = 1024
            tar.addfile(info, io.BytesIO(number.to_bytes(4, "big") * 256))


def _portions(size: int) -> Iterator[list[Path]]:
    files, each = _files(), size // LAYERS
    for _ in range(LAYERS):
        portion, taken = [], 0
        for file in files:
            portion.append(file)
            taken += file.stat().st_size
            if taken >= each:
                break
        yield portion


def _files() -> Iterator[Path]:
    for source in _SOURCES:
        for folder, folders, names in os.walk(source):
            folders.sort()
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink() and path.stat().st_size <= _LARGEST:
                    yield path


def _layer(files: Iterable[Path]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for file in files:
            tar.add(file, recursive=False)
    return out.getvalue()


def seconds_of(pids: Iterable[int]) -> float:
    """Processor seconds that these and their reaped children have used (proc_pid_stat(5), fields 14 to 17)."""
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(map(int, fields[11:15]))
    return total / _TICKS


def peak(pid: int) -> float:
    """The largest resident size so far, in MiB (VmHWM of proc_pid_status(5))."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise Failed(f"process {pid} has no peak")
