"""The image that all engines run: one static busybox and its links, as an archive and as a folder for runc."""

import subprocess
import sys
import tarfile
from pathlib import Path

from bench.process import Failed

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = "bench:latest"


def archive(folder: Path) -> Path:
    """Write the archive of the root file system into `folder`. Raises Failed without a static busybox."""
    found = subprocess.run([str(ROOT / ".ci/busybox")], capture_output=True, text=True, check=False)
    if found.returncode:
        raise Failed(f"no static busybox: {found.stderr.strip()}")
    target = folder / "bench.tar"
    subprocess.run(
        [sys.executable, "-I", str(ROOT / ".ci/base_image.py"), found.stdout.strip(), str(target)], check=True
    )
    return target


def unpack(source: Path, target: Path) -> None:
    """The same root file system as a folder."""
    target.mkdir(parents=True)
    with tarfile.open(source) as tar:
        tar.extraction_filter = lambda member, path: member  # our own archive; 3.14 would change modes
        tar.extractall(target)
