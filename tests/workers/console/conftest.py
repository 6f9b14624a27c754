"""A fresh engine with one image, and a prompt for it."""

import pytest

from tests.workers.console.fakes import FakeEngine, Prompt


@pytest.fixture
def engine() -> FakeEngine:
    """One image, alpine:3.10, with a command."""
    engine = FakeEngine()
    engine.images.add("a", "alpine:3.10", Cmd=["sh"], Env=["PATH=/bin"])
    return engine


@pytest.fixture
def prompt(engine: FakeEngine) -> Prompt:
    """Types command lines to the engine."""
    return Prompt(engine)
