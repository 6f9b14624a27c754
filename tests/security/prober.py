"""An image that holds this very Python interpreter, so that what tests look at from inside can be written in Python.

Files lie at the same paths as on the host: the interpreter, the libraries that the dynamic linker names, and the
modules that `MODULES` bring along; nothing else.
"""

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path

MODULES = ("array", "ctypes", "errno", "fcntl", "json", "mmap", "os", "platform", "resource", "select", "signal",
           "socket", "stat", "struct", "subprocess", "sys", "threading", "time")
_LOADED = """
import importlib, json, sys, encodings.idna
from importlib.machinery import PathFinder
for name in sys.argv[1:]: importlib.import_module(name)
def found(name):  # by name: what is imported as collections.abc is a module with another file
    above, dot, _ = name.rpartition(".")
    if dot and not hasattr(sys.modules[above], "__path__"):
        return None  # as os.path, which has a name of its own as well
    spec = PathFinder.find_spec(name, sys.modules[above].__path__ if dot else None)
    return spec.origin if spec and spec.has_location else None
print(json.dumps(sorted(set(filter(None, map(found, [name for name in sys.modules if name != "__main__"]))))))
"""


def interpreter() -> str:
    """The real one behind the virtual environment."""
    return str(Path(getattr(sys, "_base_executable", sys.executable)).resolve())


def write(base: Path, target: Path) -> None:
    """`base` (an archive of a root file system) with the interpreter added to it."""
    program = interpreter()
    listed = subprocess.run([program, "-I", "-S", "-c", _LOADED, *MODULES], capture_output=True, text=True, check=True)
    files = {program, *json.loads(listed.stdout)}
    for path in sorted(files):
        if path == program or path.endswith(".so"):
            files |= _libraries(path)
    with tarfile.open(base) as source, tarfile.open(target, "w") as tar:
        for member in source:
            tar.addfile(member, source.extractfile(member) if member.isreg() else None)
        for path in sorted(files):
            _add(tar, path)
        _add(tar, str(Path(json.__file__).parents[1] / "os.py"))  # how the interpreter recognises its home


def _libraries(path: str) -> set[str]:
    """Absolute paths in what ldd(1) says."""
    said = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    return {word for line in said.splitlines() for word in line.split() if word.startswith("/")}


def _add(tar: tarfile.TarFile, path: str) -> None:
    data = Path(path).read_bytes()
    member = tarfile.TarInfo(path.lstrip("/"))
    member.size, member.mode = len(data), 0o755
    tar.addfile(member, io.BytesIO(data))
