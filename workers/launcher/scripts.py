"""The files that users start: `lading` and `ladingd` in a bin directory, and `lading.service` on request.

A console script made by pip takes about 30 ms to its first line, because it imports `site` and `re`. These scripts
start the interpreter with `-I -S` (no site-packages, no environment, nothing from the current directory) and import the
thin client from compiled code; a `/bin/sh` wrapper in between was measured 1 ms slower, so it is only the fallback for
paths that do not fit in a shebang line. The client's one module is loaded by its path: to look for its two packages on
the module path first takes another 0.35 ms, a third of what the client adds to the interpreter. `posix._exit` leaves
out the interpreter's shutdown, another 1.3 ms: the client buffers nothing.

The client's script, as written for a checkout in /srv/lading:

    #!/usr/bin/python3.11 -IS
    import sys
    from posix import _exit
    from _frozen_importlib_external import SourceFileLoader
    root, name = '/srv/lading', 'adapters.cli.main'
    client = sys.modules[name] = type(sys)(name)
    exec(SourceFileLoader(name, f'{root}/adapters/cli/main.py').get_code(name), client.__dict__)
    sys.path.insert(0, root)
    _exit(client.main(sys.argv[1:], ('/srv/lading/.venv/bin/python', '-I', '-m', 'lading_engine', 'daemon')))
"""

import os
import sys

from . import daemon_command, root

_SHEBANG_LIMIT = 127  # bytes, see execve(2): older kernels cut the line there without an error

_CLIENT = """\
import sys
from posix import _exit
from _frozen_importlib_external import SourceFileLoader
root, name = {root!r}, 'adapters.cli.main'
client = sys.modules[name] = type(sys)(name)
exec(SourceFileLoader(name, f'{{root}}/adapters/cli/main.py').get_code(name), client.__dict__)
sys.path.insert(0, root)
_exit(client.main(sys.argv[1:], {daemon!r}))
"""

_DAEMON = """\
import sys
from lading_engine import daemon
sys.exit(daemon())
"""

# KillMode=process: stopping the daemon must not stop containers, which outlive it. Delegate: cgroups below are ours.
_UNIT = """\
[Unit]
Description=Lading container engine
After=local-fs.target network.target
StartLimitIntervalSec=0

[Service]
ExecStart={program}
Restart=always
RestartSec=1
KillMode=process
Delegate=yes
TasksMax=infinity
LimitNOFILE=1048576
OOMScoreAdjust=-500

[Install]
WantedBy=multi-user.target
"""


def first_lines(interpreter: str, flags: str) -> str:
    """A shebang, or where the interpreter's path does not fit one, two lines that both sh and Python understand.

    For sh the triple quote is an empty word and `exec` replaces the shell; for Python it is a string.
    """
    shebang = f"#!{interpreter} {flags}\n"
    if len(os.fsencode(shebang)) <= _SHEBANG_LIMIT and " " not in interpreter:
        return shebang
    return f"#!/bin/sh\n'''exec' \"{interpreter}\" {flags} \"$0\" \"$@\"\n' '''\n"


def client_script() -> str:
    """The text of `lading`: the base interpreter (not the venv's link) saves looking for pyvenv.cfg."""
    start = first_lines(os.path.realpath(sys.executable), "-IS")
    return start + _CLIENT.format(root=root(), daemon=daemon_command())


def daemon_script() -> str:
    """The text of `ladingd`: it needs the venv's site-packages."""
    return first_lines(sys.executable, "-I") + _DAEMON


def unit_file(program: str) -> str:
    """The text of `lading.service`, which starts `program`."""
    return _UNIT.format(program=program)


def launchers() -> int:
    """Write `lading` and `ladingd` into the directory named on the command line; with a second one, the unit there."""
    if len(sys.argv) not in (2, 3):
        sys.stderr.write("usage: python -I -m lading_engine launchers BIN_DIRECTORY [UNIT_DIRECTORY]\n")
        return 2
    _write(os.path.join(sys.argv[1], "lading"), client_script(), 0o755)
    _write(os.path.join(sys.argv[1], "ladingd"), daemon_script(), 0o755)
    if len(sys.argv) == 3:
        program = os.path.join(os.path.abspath(sys.argv[1]), "ladingd")
        _write(os.path.join(sys.argv[2], "lading.service"), unit_file(program), 0o644)
    return 0


def _write(path: str, text: str, mode: int) -> None:
    """Replace `path` at once: a running program keeps the file it started from."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    temporary = f"{path}.{os.getpid()}"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    os.chmod(temporary, mode)
    os.replace(temporary, path)
