"""ladingd: settings → folders → lock → everything else (`workers.service`).

Nothing heavy is imported, and nothing but folders made, before the data root is ours: a second daemon is refused at
once, and does the first one no harm.
"""

import os
import sys

from domain.errors import LadingError
from workers.folders import STATE, make_folders
from workers.lock import RootInUse, RootLock
from workers.settings import read_settings

IN_USE = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) of a daemon that finds another one: who started it may use that one."""


def main(arguments: list[str]) -> int:
    """Run until told to end; the exit status."""
    if arguments:
        sys.stderr.write("usage: ladingd (settings are in the configuration file and in LADING_… variables)\n")
        return 0 if arguments == ["--help"] else 125
    try:
        settings = read_settings()
        if os.geteuid() != 0:
            raise LadingError("the daemon must run as root", hint="use sudo, or a service manager")
        os.umask(0o077)
        make_folders(settings)
        lock = RootLock(settings.data_root / STATE)
        lock.acquire()
        from workers.service import serve  # half a second of imports

        serve(settings)
        lock.release()
    except RootInUse as error:
        sys.stderr.write(f"ladingd: {error.message} ({error.hint})\n")
        return IN_USE
    except LadingError as error:
        hint = f" ({error.hint})" if error.hint else ""
        sys.stderr.write(f"ladingd: {error.message}{hint}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        sys.stderr.write(f"ladingd: {place}{error.strerror or error}\n")
        return 1
    return 0
