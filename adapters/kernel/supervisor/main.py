"""Entry of the small processes: `python -I -S …/main.py ROLE name=value…` with the package root put on the path.

Roles: `launch` (see `launch.py`), `keeper`, `warden`, `zygote`, `scribe`, and `inside`, which reaches into the files of
one container. Nothing of site-packages is ever imported here.
"""

import os
import sys


def _role(name: str, arguments: list[str]) -> None:
    if name == "launch":
        from adapters.kernel.supervisor import launch as role
    elif name == "keeper":
        from adapters.kernel.supervisor import keeper as role  # type: ignore[no-redef]
    elif name == "warden":
        from adapters.kernel.supervisor import warden as role  # type: ignore[no-redef]
    elif name == "zygote":
        from adapters.kernel.supervisor import zygote as role  # type: ignore[no-redef]
    elif name == "scribe":
        from adapters.kernel.supervisor import scribe as role  # type: ignore[no-redef]
    elif name == "inside":
        from adapters.kernel.inside import main as role  # type: ignore[no-redef]
    else:
        raise SystemExit(f"no such role: {name}")
    role.main(arguments)


def _name(name: str) -> None:
    """What `ps -o comm` shows; without it every process of ours would be called after its descriptor number."""
    with open("/proc/self/comm", "w") as file:
        file.write(name)


if __name__ == "__main__":
    sys.path.insert(0, os.path.abspath(os.path.join(os.path.dirname(__file__), "..", "..", "..")))
    from adapters.kernel import syscalls

    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)
    _name(f"lading-{sys.argv[1]}")
    os.umask(0o077)
    _role(sys.argv[1], sys.argv[2:])
