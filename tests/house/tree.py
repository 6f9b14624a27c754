"""The tree as the house tests see it: files that git knows or would add, never caches or environments."""

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("domain", "adapters", "workers", "migrations")


@cache
def files() -> tuple[Path, ...]:
    """Every file of the project; without git, or in an unpacked source archive, a walk finds them."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=False).stdout if shutil.which("git") else b""
    if listed:
        names = listed.decode().split("\0")
        return tuple(sorted(path for name in names if name and (path := ROOT / name).is_file()))
    return tuple(sorted(path for path in ROOT.rglob("*") if path.is_file() and not _hidden(path)))


def _hidden(path: Path) -> bool:
    parts = path.relative_to(ROOT).parts
    made = {"__pycache__", "build", "dist", "results"}
    return any(part in made or (part.startswith(".") and part != ".ci") or part.endswith(".egg-info") for part in parts)


def packages() -> dict[str, Path]:
    """Dotted name in the tree → folder, for every folder of the rooms that holds Python files."""
    folders = {path.parent for path in files() if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in ROOMS}
    return {".".join(folder.relative_to(ROOT).parts): folder for folder in sorted(folders)}


def modules() -> tuple[str, ...]:
    """Dotted names of all modules of the rooms, packages included."""
    names = []
    for path in files():
        relative = path.relative_to(ROOT)
        if path.suffix == ".py" and relative.parts[0] in ROOMS:
            parts = relative.with_suffix("").parts
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return tuple(sorted(names))
