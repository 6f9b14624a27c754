"""Values of environment variables: nowhere in the clear, and nowhere at all once the container is gone."""

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.tutorial.engine import Engine
from tests.tutorial.line import Line

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_no_value_of_a_variable_lies_or_passes_anywhere_in_the_clear(engine: Engine, tmp_path: Path) -> None:
    """Files of the engine, command lines of its processes, histories, lists, and what listeners on the bus hear;
    whichever way the value was given, whether the start worked or not.

    CVE-2019-13509.
    """
    ways = ("short", "long", "equals", "joined", "file", "passed", "passed by file", "created", "no program", "no user",
            "no image", "second line")
    values = {way: secrets.token_hex(16) for way in ways}
    listed = tmp_path / "list"
    listed.write_text(f"F={values['file']}\nG\n")
    with closing(Line(engine.socket)) as listener:
        listener.subscribe("lading.@.ev.>", 1)
        engine.ok("run", "-d", "--name", "it", "-e", f"A={values['short']}", "--env", f"B={values['long']}",
                  f"--env=C={values['equals']}", f"-eD={values['joined']}", "--env-file", str(listed), "-e", "E",
                  "-e", f"N=one\n{values['second line']}", "busybox", "sleep", "100",
                  env={"E": values["passed"], "G": values["passed by file"]})
        engine.ok("create", "--name", "other", "-e", f"A={values['created']}", "busybox", "true")
        engine.cli("run", "-e", f"A={values['no program']}", "busybox", "/none")
        engine.cli("run", "-e", f"A={values['no user']}", "-u", "none", "busybox", "true")
        engine.cli("run", "-e", f"A={values['no image']}", "none", "true")
        said = engine.ok("inspect", "it")
        assert all(values[way] in said for way in ("short", "file", "passed", "passed by file"))
        shown = [("ps", "-a", "--no-trunc"), ("why", "it"), ("audit", "it"), ("audit", "--format", "{{json .}}", "it"),
                 ("events", "--since", "0", "--until", "0s", "--format", "{{json .}}"), ("images", "--no-trunc")]
        texts = {" ".join(words): engine.cli(*words).out for words in shown} | {"the bus": _heard(listener)}
    assert "created" in texts["the bus"]
    found = _found(engine, values) + [(way, where) for where, text in texts.items()
                                      for way, value in values.items() if value in text]
    assert found == []


def test_what_was_sealed_cannot_be_read_once_the_container_is_gone(engine: Engine) -> None:
    """The key is overwritten, in the database and in what SQLite has beside it; the log stays whole."""
    value = secrets.token_hex(16)
    id = engine.ok("create", "-e", f"A={value}", "busybox", "true")
    (key,) = (row[0] for row in engine.select("SELECT key FROM keys ORDER BY stream DESC LIMIT 1"))
    assert len(key) == 32
    engine.ok("rm", id)
    assert engine.ok("audit", "verify")
    engine.stop()
    try:
        with closing(sqlite3.connect(engine.data / "lading.db")) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert _found(engine, {"the value": value}) == []
        assert not [path for path in _files(engine) if key in path.read_bytes()]
    finally:
        engine.start()


def _heard(listener: Line) -> str:
    texts = []
    with suppress(TimeoutError):
        while True:
            texts.append(" ".join(str(part) for part in listener.hear(0.5)))
    return "\n".join(texts)


def _found(engine: Engine, values: dict[str, str]) -> list[tuple[str, str]]:
    """(way, place) of each value in a file of the engine, or in the command line or environment of its processes."""
    processes = engine.processes()
    places: dict[str, Callable[[], bytes]] = {str(path): path.read_bytes for path in _files(engine)}
    for pid in [*processes.roles.values(), *processes.others]:
        places |= {f"/proc/{pid}/{name}": Path(f"/proc/{pid}/{name}").read_bytes for name in ("cmdline", "environ")}
    found = []
    for place, read in places.items():
        with suppress(OSError):
            data = read()
            found += [(way, place) for way, value in values.items() if value.encode() in data]
    return found


def _files(engine: Engine) -> list[Path]:
    """All files but those of images."""
    return [Path(folder) / name for root in (engine.data, engine.run_dir, engine.folder)
            for folder, _, names in os.walk(root) for name in names
            if "/store/layers/" not in folder and (Path(folder) / name).is_file()]
