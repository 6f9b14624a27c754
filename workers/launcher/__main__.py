"""`python -I -m lading_engine PROGRAM [ARGUMENT …]`: how the engine starts its own processes.

Never `python -m workers.…`: that would import, as root, whatever lies in the current directory.
"""

import sys
from collections.abc import Callable

from . import cli, daemon, gateway, net, offline
from .scripts import launchers
from .shutdown import shutdown

PROGRAMS: dict[str, Callable[[], int]] = {
    "cli": cli,
    "daemon": daemon,
    "gateway": gateway,
    "launchers": launchers,
    "net": net,
    "offline": offline,
    "shutdown": shutdown,
}


def main() -> int:
    """Run the program named by the first argument with the others."""
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in PROGRAMS:
        sys.stderr.write(f"usage: python -I -m lading_engine {{{','.join(PROGRAMS)}}} [ARGUMENT …]\n")
        return 2
    sys.argv[:2] = [name]
    return PROGRAMS[name]()


if __name__ == "__main__":
    sys.exit(main())
