"""`python -m bench [--only CASE …] [--quick] [--alone]`: measure, print a table, write `bench/results/<date>.json`.

Needs root for everything but `append` and `rebuild`. Ends with status 1 when a case could not be measured; a missed
target is no error, it stands in the table.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from bench import machine, report
from bench.cases import CASES
from bench.process import Failed
from bench.report import Row
from bench.setting import FOLDER, Setting
from domain.errors import LadingError

RESULTS = Path(__file__).parent / "results"
QUICK = 0.2


def options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, allow_abbrev=False)
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="CASE", help=f"some of: {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="a fifth of the rounds, containers and events")
    parser.add_argument("--alone", action="store_true", help="without docker and runc even where they are installed")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where all files go meanwhile; must be on a disk")
    parser.add_argument("--output", type=Path, help="where to write the JSON")
    return parser.parse_args(arguments)


def measure(setting: Setting, names: Sequence[str]) -> tuple[list[Row], list[str]]:
    """All rows, and what could not be measured."""
    rows: list[Row] = []
    failed = []
    for name in names:
        begin = time.monotonic()
        setting.say(f"{name} …")
        try:
            rows += CASES[name](setting)
        except (Failed, LadingError, OSError) as error:
            failed.append(f"{name}: {error}")
            setting.say(failed[-1])
        else:
            setting.say(f"{name}: done in {time.monotonic() - begin:.0f} s")
    return rows, failed


def main() -> int:
    """Measure what was asked for."""
    chosen = options(sys.argv[1:])
    began = time.strftime("%Y-%m-%d-%H%M%S")
    scale = QUICK if chosen.quick else 1
    setting = Setting(below=chosen.folder, scale=scale, peers=not chosen.alone, say=say)
    with closing(setting):
        rows, failed = measure(setting, chosen.only or list(CASES))
        facts = {**machine.facts(chosen.folder), **setting.facts(), "failed": failed}
    if rows:
        path = chosen.output or RESULTS / f"{began}.json"
        report.write(path, rows, facts)
        print(f"\n{report.table(rows)}\n\n{path}")
    for left in setting.left:
        print(f"left behind, now cleaned: {left}")
    for text in failed:
        print(f"not measured: {text}")
    return 1 if failed else 0


@contextmanager
def closing(setting: Setting) -> Iterator[None]:
    """Clean up whatever happens; SIGTERM counts as ^C, and neither of them interrupts the cleaning."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job starts with SIGINT ignored
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        setting.close()


def say(text: str) -> None:
    """What is going on, on standard error."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
