"""A real nats-server for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.nats.bus import NatsBus
from adapters.nats.rights import User
from adapters.nats.server import EmbeddedServer

HOST = "box"
USERS = (User("ann", "secret of ann", "operator"), User("bob", "secret of bob", "reader"))


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server with the engine's roles, an operator `ann` and a reader `bob`."""
    server = EmbeddedServer(tmp_path / "nats", HOST, USERS)
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def bus(server: EmbeddedServer) -> AsyncIterator[NatsBus]:
    """The daemon's connection."""
    bus = NatsBus(server.locate)
    await bus.connect()
    yield bus
    await bus.close()
