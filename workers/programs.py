"""How the daemon starts the processes that work for it: with its own interpreter, through the installed package.

That package lies in `workers/launcher` in a checkout, and is imported as `lading_engine` everywhere.
"""

import sys


def net_command() -> tuple[str, ...]:
    """The beginning of the command line that starts the network process."""
    return sys.executable, "-I", "-m", "lading_engine", "net"


def gateway_command() -> tuple[str, ...]:
    """The beginning of the command line that starts the gateway."""
    return sys.executable, "-I", "-m", "lading_engine", "gateway"
