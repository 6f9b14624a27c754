"""The programs `lading` and `ladingd`, installed as the package `lading_engine`.

Owns how our packages are found: in a wheel they lie beside this file (`lading_engine/domain`, …), in a checkout two
folders up. `root()` goes first on the module path, so a `domain` or `adapters` of somebody else is never imported.
Importing this package does nothing; it must stay cheap, because the console script of the thin client passes here.
"""

import os
import sys


def root() -> str:
    """The folder that holds domain, adapters, workers and migrations."""
    here = os.path.dirname(os.path.realpath(__file__))
    installed = os.path.isdir(os.path.join(here, "domain"))
    return here if installed else os.path.dirname(os.path.dirname(here))


def daemon_command() -> tuple[str, ...]:
    """The complete command line that starts the daemon with this interpreter and its site-packages."""
    return sys.executable, "-I", "-m", "lading_engine", "daemon"


def cli() -> int:
    """Run the thin client with the arguments of this process."""
    sys.path.insert(0, root())
    from adapters.cli.main import main

    return main(sys.argv[1:], daemon_command())


def offline() -> int:
    """Answer what needs no daemon; the first argument says why there is none."""
    sys.path.insert(0, root())
    from workers.console.offline import main

    return main(sys.argv[1:])


def daemon() -> int:
    """Run the daemon with the arguments of this process."""
    sys.path.insert(0, root())
    from workers.daemon import main

    return main(sys.argv[1:])


def gateway() -> int:
    """Run the process that speaks HTTP with clients of the Docker Engine API."""
    sys.path.insert(0, root())
    from adapters.gateway.process import main

    return main(sys.argv[1:])


def net() -> int:
    """Run the process that owns the network of containers."""
    sys.path.insert(0, root())
    from adapters.net.process import main

    return main(sys.argv[1:])
