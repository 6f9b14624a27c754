"""Text that containers, images and strangers control never moves the cursor of whoever looks at it."""

import re

import pytest

from tests.tutorial.engine import Engine, until

pytestmark = [pytest.mark.kernel, pytest.mark.slow]

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\nFAKE ROW\b\x7f\u202eevil"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def _harmless(text: str) -> None:
    found = CONTROL.search(text)
    assert found is None, f"{found[0]!r} in {text!r}"
    assert not any(line.startswith("FAKE ROW") for line in text.splitlines())


def test_tables_show_no_control_character(engine: Engine) -> None:
    """Commands, labels, variables and output end up in many tables."""
    engine.ok("run", "-d", "--name", "it", "-l", f"evil={EVIL}", "-e", f"EVIL={EVIL}", "busybox", "sh", "-c",
              "printf '\\033[2J\\033]0;owned\\007line\\n'; sleep 600", EVIL)
    until(lambda: "line" in engine.ok("logs", "it"), "it has written")
    for words in (
        ("ps", "-a"), ("ps", "-a", "--no-trunc"), ("ps", "-a", "--format", "{{.Command}} {{.Labels}}"),
        ("ps", "-a", "--format", "table {{.Labels}}\t{{.Command}}"), ("ps", "-a", "--format", "json"),
        ("inspect", "it"), ("top", "it"), ("audit", "it"), ("audit", "--no-trunc", "it"), ("audit", "--json", "it"),
        ("audit", "--format", "json", "it"),
        ("events", "--since", "1h", "--until", "0s"), ("events", "--since", "1h", "--until", "0s", "--format", "json"),
    ):
        _harmless(engine.ok(*words))
    engine.ok("kill", "it")
    engine.reaches("it", "exited")
    why = engine.ok("why", "it")
    assert "line" in why
    _harmless(why)


def test_errors_show_no_control_character(engine: Engine) -> None:
    """They repeat what was typed, or what an image brought."""
    for words in (
        ("inspect", EVIL), ("rm", EVIL), ("run", EVIL), ("run", "--name", EVIL, "busybox"), (EVIL,),
        ("run", f"--{EVIL}", "busybox"), ("run", "busybox", EVIL), ("run", "-u", EVIL, "busybox", "true"),
        ("run", "-w", EVIL, "busybox", "true"), ("kill", "-s", EVIL, "x"), ("ps", "-f", EVIL),
        ("ps", "--format", "{{" + EVIL), ("tag", "busybox", EVIL), ("events", "--since", EVIL),
        ("import", EVIL, "x:y"), ("load", "-i", EVIL),
    ):
        done = engine.cli(*words)
        assert done.code != 0, words
        _harmless(done.err)


def test_who_asked_is_shown_harmlessly(engine: Engine) -> None:
    """A command line is a stranger's text, too."""
    engine.ok("run", "-d", "--name", "it", "busybox", "sh", "-c", "sleep 600", EVIL)
    engine.ok("kill", "it")
    engine.reaches("it", "exited")
    _harmless(engine.ok("audit", "--format", "{{.Command}}", "it"))
    _harmless(engine.ok("audit", "it"))
    _harmless(engine.ok("why", "it"))


def test_images_with_hostile_metadata_are_shown_harmlessly(engine: Engine) -> None:
    """Author, message, labels and command of an image come from whoever built it."""
    engine.ok("create", "--name", "it", "busybox", "true")
    label = EVIL.replace("\n", "")
    engine.ok("commit", "-m", EVIL, "-a", EVIL, "--change", f'LABEL evil="{label}"', "it", "evil:1")
    for words in (("images",), ("images", "--format", "json"), ("inspect", "evil:1"), ("ps", "-a")):
        _harmless(engine.ok(*words))
    engine.ok("rm", "it")
    engine.ok("rmi", "evil:1")
