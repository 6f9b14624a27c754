"""ladingd: settings → locks → folders → everything else (`workers.service`).

Nothing heavy is imported, and nothing made, before data root and run directory are ours: a second daemon is refused at
once, leaves nothing, and does the first one no harm.
"""

import gc
import os
import sys

from domain.errors import LadingError
from workers.folders import STATE, make_folders, make_run_dir
from workers.lock import Lock, Taken
from workers.settings import Settings, read_settings

IN_USE = 75
"""Exit status (EX_TEMPFAIL of sysexits.h) of a daemon that finds another one of the same two places: who started
it may use that one."""
REBUILD = "--rebuild"
"""Make every table anew that is made from the log, before anything is answered."""


def main(arguments: list[str]) -> int:
    """Run until told to end; the exit status."""
    if arguments not in ([], [REBUILD]):
        sys.stderr.write(
            f"usage: ladingd [{REBUILD}] (settings are in the configuration file and in LADING_… variables)\n"
        )
        return 0 if arguments == ["--help"] else 125
    try:
        settings = read_settings()
        if os.geteuid() != 0:
            raise LadingError("the daemon must run as root", hint="use sudo, or a service manager")
        os.umask(0o077)
        locks = claim(settings)
        gc.disable()  # until it is ready: hardly anything that is made until then is garbage
        from workers.service import serve  # half a second of imports

        serve(settings, anew=REBUILD in arguments)
        for lock in locks:
            lock.release()
    except Taken as error:
        sys.stderr.write(f"ladingd: {error.message} ({error.hint})\n")
        return IN_USE if error.same else 1
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


def claim(settings: Settings) -> tuple[Lock, Lock]:
    """Both places. Two daemons in one run directory would end each other's helpers. Raises: Taken."""
    places = f"the data root {settings.data_root}", f"the run directory {settings.run_dir}"
    root = Lock(settings.data_root / STATE / "lock", *places)
    run = Lock(settings.run_dir / "daemon.lock", *reversed(places))
    if (settings.data_root / STATE).is_dir():
        root.acquire()
    make_run_dir(settings)
    run.acquire()
    make_folders(settings)  # a new data root only for a daemon that may run
    root.acquire()
    return root, run
