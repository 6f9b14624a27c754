"""A run from its start to its grave, with nothing going wrong."""


import pytest

from tests.adapters.kernel.supervisor.machine import Machine

pytestmark = [pytest.mark.kernel, pytest.mark.slow]


async def test_the_exit_code_and_the_output_come_back(machine: Machine) -> None:
    """The two things everybody wants of a container."""
    async with machine.connected():
        id, process = await machine.start("echo out; echo err >&2; exit 42")
        report = await machine.end(id)
        assert (report.code, report.signal, report.how, report.oom) == (42, 0, "self", False)
        assert (report.pid, report.start_time) == (process.pid, process.start_time)
        assert await machine.output(id, 1) == b"out\n"
        assert await machine.output(id, 2) == b"err\n"
