"""`python -I -m lading_engine shutdown [--kill|--networks]`: end the processes that outlive the daemon.

Nothing needs this in daily life: they cost a few megabytes and serve the next daemon. A demonstration, a test or an
uninstallation uses it to leave the machine as it was. The daemon has to be stopped first, or it starts them again.
"""

import sys

from . import root


def shutdown() -> int:
    """End keeper, warden, zygote and the network process of the configured run directory; with `--kill` also running
    containers, and what the kernel has of networks; with `--networks` only these, if no container is on any."""
    if sys.argv[1:] not in ([], ["--kill"], ["--networks"]):
        sys.stderr.write("usage: python -I -m lading_engine shutdown [--kill|--networks]\n")
        return 2
    sys.path.insert(0, root())
    from adapters.kernel.supervisor.tree import stop_warden
    from adapters.net.ending import clean_networks, end_network
    from domain.errors import LadingError
    from workers.programs import net_command
    from workers.settings import read_settings

    kill = "--kill" in sys.argv
    try:
        settings = read_settings()
        run_dir = settings.run_dir
        if "--networks" in sys.argv:
            clean_networks(run_dir, settings.data_root, net_command())
            return 0
        stop_warden(run_dir, kill=kill)
        end_network(run_dir, clean=kill)
    except LadingError as error:
        sys.stderr.write(f"lading: {error}\n" + (f"{error.hint}\n" if error.hint else ""))
        return 1
    return 0
