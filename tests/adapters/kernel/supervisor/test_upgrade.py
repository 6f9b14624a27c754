"""A daemon that is newer than the supervisor it finds: the warden is replaced, or says what it cannot do."""

import pytest

from adapters.kernel.supervisor import wire
from domain.errors import KernelError
from tests.adapters.kernel.supervisor.machine import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


async def test_a_warden_of_an_older_version_is_replaced(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its containers go on, with their output and their statuses."""
    async with machine.connected():
        id, process = await machine.start("echo one; sleep 0.5; echo two; exit 5")
        await machine.written(id, b"one")
    before = machine.pid("warden")
    monkeypatch.setattr(wire, "PROTOCOL", wire.PROTOCOL + 1)
    async with machine.connected() as runtime:
        assert machine.pid("warden") not in (0, before)
        assert (await runtime.running())[id] == (1, process)
        assert (await machine.end(id)).code == 5
        assert await machine.output(id) == b"one\ntwo\n"


async def test_what_a_warden_does_not_know_is_an_error_and_no_riddle(machine: Machine) -> None:
    """It closes the connection; nobody waits for ever."""
    async with machine.connected() as runtime:
        with pytest.raises(KernelError, match="older version"):
            await runtime._borrow({"op": "sing"})
