"""`python -I -m lading_engine shutdown [--kill]`: end the processes that outlive the daemon.

Nothing needs this in daily life: they cost a few megabytes and serve the next daemon. A demonstration, a test or an
uninstallation uses it to leave the machine as it was. The daemon has to be stopped first, or it starts them again.
"""

import sys

from . import root


def shutdown() -> int:
    """End keeper, warden, zygote and the network process of the configured run directory; with `--kill` also running
    containers, and what the kernel has of networks."""
    if sys.argv[1:] not in ([], ["--kill"]):
        sys.stderr.write("usage: python -I -m lading_engine shutdown [--kill]\n")
        return 2
    sys.path.insert(0, root())
    from adapters.kernel.supervisor.tree import stop_warden
    from adapters.net.ending import end_network
    from domain.errors import LadingError
    from workers.settings import read_settings

    kill = "--kill" in sys.argv
    try:
        run_dir = read_settings().run_dir
        stop_warden(run_dir, kill=kill)
        end_network(run_dir, clean=kill)
    except LadingError as error:
        sys.stderr.write(f"lading: {error}\n")
        return 1
    return 0
