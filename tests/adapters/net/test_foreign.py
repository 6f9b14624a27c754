"""firewalld, as far as its own command line goes: who is told what."""

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from adapters.net import firewall, foreign, links
from adapters.net import host as host_module
from domain.network.setup import Bridge, Sandbox

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


def test_rules_that_are_just_being_made_are_taken_away_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are made in another thread, a while after a network: who cleans up waits for that one."""
    monkeypatch.setattr(host_module, "Netlink", object)
    monkeypatch.setattr(firewall, "Firewall", lambda name: None)
    host = host_module.Host("lading-test", 1 << 20, tmp_path / "notes", foreign.OPEN)
    host.bridges["shop"] = Bridge(id="shop", link="ldg-shop", addresses=())
    begun, go_on, done = threading.Event(), threading.Event(), list[str]()

    def admit(mode: str, links: Sequence[str] = ()) -> None:
        begun.set()
        go_on.wait(5)
        done.append("admitted")

    def settle(bridges: Sequence[Bridge], sandboxes: Mapping[int, Sandbox]) -> None:
        host.bridges.clear()
        threading.Timer(0.02, go_on.set).start()

    monkeypatch.setattr(foreign, "admit", admit)
    monkeypatch.setattr(foreign, "forget", lambda: done.append("forgotten"))
    monkeypatch.setattr(links, "all_links", lambda here: ())
    monkeypatch.setattr(host, "settle", settle)
    admitting = threading.Thread(target=host.admit)
    admitting.start()
    assert begun.wait(5)
    host.clean()
    admitting.join()
    host.admit()
    assert done == ["admitted", "forgotten"]
