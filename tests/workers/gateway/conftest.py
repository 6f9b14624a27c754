"""A fresh engine with one image, and a client of its API."""

import pytest

from tests.workers.console.fakes import FakeEngine
from tests.workers.gateway.client import Client


@pytest.fixture
def engine() -> FakeEngine:
    """One image, alpine:3.10, with a command."""
    engine = FakeEngine()
    engine.images.add("a", "alpine:3.10", Cmd=["sh"], Env=["PATH=/bin"])
    return engine


@pytest.fixture
def client(engine: FakeEngine) -> Client:
    """Asks the engine."""
    return Client(engine)
