"""What each role may say and hear, asked of the real server."""

from dataclasses import replace

import pytest

from adapters.nats.server import EmbeddedServer
from tests.adapters.nats.conftest import USERS
from tests.adapters.nats.wire import Wire

PASSWORDS = {user.name: user.password for user in USERS}

MAY_SAY = [
    ("daemon", "lading.box.work.start-requested"), ("daemon", "lading.box.ev.container.a.exited"),
    ("daemon", "_INBOX.ann.1"), ("proxy", "lading.box.call.c5"), ("proxy", "lading.box.io.c5.1"),
    ("worker", "lading.box.done.7"), ("worker", "_INBOX.daemon.1"), ("ann", "lading.box.cmd.ann.stop"),
    ("ann", "lading.box.call.ann"), ("ann", "lading.box.io.ann.1"), ("bob", "lading.box.q.bob.ps"),
    ("reader", "lading.box.q.reader.ps"),
]
MAY_NOT_SAY = [
    ("reader", "lading.box.cmd.reader.stop"), ("bob", "lading.box.cmd.bob.stop"), ("bob", "lading.box.call.bob"),
    ("bob", "lading.box.q.ann.ps"), ("ann", "lading.box.call.c5"), ("ann", "lading.box.cmd.c5.stop"),
    ("ann", "lading.box.cmd.bob.stop"), ("ann", "lading.box.work.start-requested"), ("ann", "lading.box.done.7"),
    ("ann", "lading.box.ev.container.a.exited"), ("ann", "_INBOX.daemon.1"), ("ann", "_INBOX.local.c5.1"),
    ("proxy", "lading.box.work.start-requested"), ("proxy", "lading.box.ev.container.a.exited"),
    ("proxy", "lading.box.done.7"), ("proxy", "_INBOX.daemon.1"), ("worker", "lading.box.cmd.worker.stop"),
    ("worker", "lading.box.ev.container.a.exited"), ("worker", "lading.box.work.start-requested"),
    ("worker", "_INBOX.ann.1"), ("ann", "lading.other.cmd.ann.stop"), ("ann", "$SYS.REQ.SERVER.PING"),
]
MAY_HEAR = [
    ("daemon", "lading.box.cmd.>"), ("worker", "lading.box.work.>"), ("ann", "_INBOX.ann.>"),
    ("ann", "lading.box.ev.>"), ("reader", "lading.box.ev.>"), ("proxy", "_INBOX.local.>"),
    ("proxy", "lading.box.ev.>"),
]
MAY_NOT_HEAR = [
    ("reader", "_INBOX.>"), ("reader", "_INBOX.ann.>"), ("reader", "_INBOX.*.>"), ("reader", ">"),
    ("ann", "_INBOX.daemon.>"), ("ann", "_INBOX.local.>"), ("ann", "lading.box.cmd.>"), ("ann", "lading.box.call.>"),
    ("bob", "lading.box.work.>"), ("bob", "lading.box.io.>"), ("proxy", "_INBOX.daemon.>"),
    ("proxy", "lading.box.call.>"), ("worker", "lading.box.cmd.>"), ("worker", "_INBOX.>"), ("ann", "$SYS.>"),
]


async def _told(server: EmbeddedServer, role: str, text: str) -> list[str]:
    access = await server.locate(role if role not in PASSWORDS else "reader")
    if role in PASSWORDS:
        access = replace(access, user=role, password=PASSWORDS[role])
    async with Wire(access) as wire:
        lines = await wire.say(text)
        assert wire.answered
        return lines


@pytest.mark.parametrize(("role", "subject"), MAY_SAY)
async def test_a_role_says_what_it_is_for(server: EmbeddedServer, role: str, subject: str) -> None:
    """Otherwise nothing works."""
    assert await _told(server, role, f"PUB {subject} 1\r\nx\r\n") == []


@pytest.mark.parametrize(("role", "subject"), MAY_NOT_SAY)
async def test_a_role_says_nothing_else(server: EmbeddedServer, role: str, subject: str) -> None:
    """A forged name, the engine's own words and other hosts are refused by the server itself."""
    assert "Permissions Violation" in (await _told(server, role, f"PUB {subject} 1\r\nx\r\n"))[0]


@pytest.mark.parametrize(("role", "pattern"), MAY_HEAR)
async def test_a_role_hears_what_it_is_for(server: EmbeddedServer, role: str, pattern: str) -> None:
    """Otherwise nobody gets an answer."""
    assert await _told(server, role, f"SUB {pattern} 1\r\n") == []


@pytest.mark.parametrize(("role", "pattern"), MAY_NOT_HEAR)
async def test_a_role_hears_nothing_else(server: EmbeddedServer, role: str, pattern: str) -> None:
    """Answers are for their asker alone."""
    assert "Permissions Violation" in (await _told(server, role, f"SUB {pattern} 1\r\n"))[0]


async def test_without_a_password_nobody_gets_in(server: EmbeddedServer) -> None:
    """Loopback is open to every local user and to every container on the host's network."""
    access = await server.locate("daemon")
    for stranger in (replace(access, user="", password=""), replace(access, password="guess")):
        async with Wire(stranger) as wire:
            lines = await wire.say("SUB > 1\r\n")
        assert not wire.answered
        assert lines == [] or "Authorization Violation" in lines[0]


async def test_the_system_account_is_closed(server: EmbeddedServer) -> None:
    """Its questions would show every connection; here nobody answers them, not even for the daemon."""
    async with Wire(await server.locate("daemon")) as wire:
        lines = await wire.say("SUB _INBOX.daemon.1 1\r\nPUB $SYS.REQ.SERVER.PING _INBOX.daemon.1 0\r\n\r\n")
    assert any("503" in line for line in lines)
