"""firewalld, as far as its own command line goes: who is told what."""

from pathlib import Path

import pytest

from adapters.net import foreign

TALKER = """#!/bin/sh
[ -e {running} ] || exit 252
echo "$@" >>{told}
case "$*" in *--query-interface*) exit 1 ;; esac
"""
"""What firewall-cmd(1) answers: 252 when nothing of firewalld runs, 1 for no."""


def test_firewalld_is_told_whom_to_trust(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For now and for after its next reload, which forgets what is not written down; nothing where it does not run."""
    told, running = tmp_path / "told", tmp_path / "running"
    (tmp_path / "firewall-cmd").write_text(TALKER.format(told=told, running=running))
    (tmp_path / "firewall-cmd").chmod(0o755)
    monkeypatch.setattr(foreign, "_WHERE", str(tmp_path))
    foreign.admit(foreign.OPEN)
    assert not told.exists()
    running.touch()
    foreign.admit(foreign.OPEN)
    assert [line for line in told.read_text().splitlines() if "query" not in line] == [
        "--zone=trusted --add-interface=ldg+", "--permanent --zone=trusted --add-interface=ldg+"]
    told.unlink()
    foreign.admit(foreign.OPEN, links=("shopbr",))
    assert "--zone=trusted --add-interface=shopbr" in told.read_text().splitlines()
