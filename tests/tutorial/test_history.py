"""What the engine remembers: audit, why, events, verify, views that are rebuilt."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


def test_audit_names_every_step_and_who_asked(engine: Engine) -> None:
    """With the command line as it was typed; values of variables are nobody's business."""
    words = ("run", "--name", "asked", "-e", "PASSWORD=hunter2", "--env=TOKEN=xyzzy", "busybox", "false")
    assert engine.cli(*words).code == 1
    steps = [json.loads(line) for line in engine.ok("audit", "--format", "json", "asked").splitlines()]
    assert [step["Event"] for step in steps] == [
        "created", "attached", "start-requested", "network-granted", "started", "exited", "network-released"]
    text = engine.ok("audit", "--format", "{{.By}} {{.Command}}", "asked")
    events = engine.ok("events", "--since", "1h", "--until", "0s")
    assert "root" in text
    assert "lading run --name asked -e 'PASSWORD=(secret)' '--env=TOKEN=(secret)' busybox false" in text
    assert "hunter2" not in text + events
    assert "xyzzy" not in text + events
    assert b"hunter2" not in (engine.data / "lading.db").read_bytes()


def test_the_story_outlives_the_container(engine: Engine) -> None:
    """audit, why, logs and events answer after rm, by name and by id."""
    id = engine.shell("echo words; exit 4", name="gone")
    engine.ok("wait", "gone")
    engine.ok("rm", "gone")
    assert engine.cli("inspect", "gone").code == 1
    for name in ("gone", id, id[:12]):
        assert engine.steps(name)[-2:] == ["remove-requested", "removed"]
        assert engine.ok("logs", name) == "words"
    assert "4" in engine.ok("why", "gone")
    events = engine.ok("events", "--since", "1h", "--until", "0s", "--filter", f"container={id}")
    assert "die" in events or "exited" in events


def test_events_follow_what_happens(engine: Engine) -> None:
    """A program that listens hears each step once, in order."""
    listening = engine.begin("events", "--since", "0s", "--format", "{{.Action}} {{.Actor.Attributes.name}}")
    assert listening.stdout is not None
    until(lambda: engine.processes()["daemon"], "a daemon")
    engine.ok("run", "--rm", "--name", "heard", "busybox", "true")
    heard: list[str] = []
    while not any(line.startswith("destroy") for line in heard):
        heard.append(listening.stdout.readline().strip())
    listening.kill()
    told = [line.split()[0] for line in heard if line.endswith(" heard")]
    main = ["create", "start", "die", "destroy"]
    assert [action for action in told if action in main] == main


def test_why_tells_a_kill_from_an_exit(engine: Engine) -> None:
    """With the person who asked."""
    engine.ok("run", "-d", "--name", "killed", "busybox", "sleep", "600")
    engine.ok("kill", "killed")
    engine.reaches("killed", "exited")
    why = engine.ok("why", "killed")
    assert "SIGKILL" in why
    assert "root" in why
    assert "lading kill killed" in why


@pytest.mark.parametrize("column", ["data", "ts", "hash", "origin"])
def test_a_changed_byte_is_named(fresh: Engine, column: str) -> None:
    """Whoever edits the file while the daemon is down is found out, with the event."""
    fresh.ok("run", "--name", "it", "busybox", "true")
    fresh.ok("run", "--name", "other", "busybox", "true")
    assert fresh.cli("audit", "verify").code == 0
    fresh.stop()
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        (position,) = database.execute("SELECT pos FROM events ORDER BY pos DESC LIMIT 1 OFFSET 4").fetchone()
        (value,) = database.execute(f"SELECT {column} FROM events WHERE pos = ?", (position,)).fetchone()
        database.execute(f"UPDATE events SET {column} = ? WHERE pos = ?", (_changed(value), position))
    fresh.start()
    done = fresh.cli("audit", "verify")
    assert done.code != 0
    assert str(position) in done.out + done.err
    assert fresh.cli("ps", "-a").code == 0


def _changed(value: Any) -> Any:
    if isinstance(value, int):
        return value + 1
    if isinstance(value, str):
        return value[:-1] + chr(ord(value[-1]) ^ 1)
    return value[:-1] + bytes([value[-1] ^ 1])


def test_a_deleted_event_is_noticed(fresh: Engine) -> None:
    """Also the last one: the head is kept outside the file."""
    fresh.ok("run", "--name", "it", "busybox", "true")
    fresh.stop()
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        database.execute("DELETE FROM events WHERE pos = (SELECT max(pos) FROM events)")
    fresh.start()
    done = fresh.cli("audit", "verify")
    assert done.code != 0
    assert fresh.cli("ps", "-a").code == 0
    refused = fresh.cli("run", "-d", "busybox", "true")
    assert refused.code == 125
    assert "no event is accepted" in refused.err


def test_dropped_projections_are_rebuilt_to_the_same_rows(fresh: Engine) -> None:
    """They are only a copy of the log."""
    for number in range(5):
        fresh.cli("run", "--name", f"c{number}", "-l", f"n={number}", "busybox", "sh", "-c", f"exit {number}")
    fresh.ok("rename", "c1", "renamed")
    fresh.ok("rm", "c2")
    fresh.ok("commit", "c3", "web:snap")
    before = _answers(fresh)
    assert _answers(fresh) == before
    fresh.stop()
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM projections")]
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert set(names) <= set(tables)
        for name in names:
            database.execute(f'DROP TABLE "{name}"')
    fresh.start()
    assert _answers(fresh) == before
    assert fresh.cli("audit", "verify").code == 0
    looked = fresh.ok("audit", "--access", "only", "--format", "{{.Detail}}", "host").splitlines()
    assert any(line.startswith("images once more, from ") for line in looked), "what was counted is there after an end"
    fresh.stop()
    with closing(sqlite3.connect(fresh.data / "lading.db", isolation_level=None)) as database:
        database.execute("UPDATE containers SET name = 'other' WHERE name = 'renamed'")
    fresh.start()
    assert "the log is whole" in fresh.cli("audit", "verify").err
    fresh.stop()
    fresh.ok("daemon", "start", "--rebuild", env={"LADING_AUTOSTART": "1"})
    assert _answers(fresh) == before
    assert fresh.cli("audit", "verify").code == 0
    fresh.ok("daemon", "stop")
    fresh.start()
    fresh.ok("rm", "renamed", "c0", "c3", "c4")


def _answers(engine: Engine) -> list[object]:
    questions = [("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.Image}} {{.Labels}} {{.State}}"),
                 ("images", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")]
    rows = [engine.query(view)["rows"] for view in ("containers", "images", "refs", "past")]
    return [*(engine.ok(*question) for question in questions), *rows]


def test_ps_at_a_moment_shows_what_was(engine: Engine) -> None:
    """Also what is removed by now."""
    engine.shell("sleep 600", name="it")
    position = engine.ok("audit", "--format", "{{.Position}}", "it").splitlines()[-1]
    engine.ok("rm", "-f", "it")
    assert "it" in engine.ok("ps", "-a", "--at", position, "--format", "{{.Names}}").splitlines()
    assert engine.ok("ps", "-a", "--format", "{{.Names}}") == ""
