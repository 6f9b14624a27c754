"""The program ladingd, as far as it comes without becoming a daemon."""

import os
import sys
from collections.abc import Iterator

import pytest

from workers.daemon import main


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    """The daemon sets its own."""
    before = os.umask(0o22)
    yield
    os.umask(before)


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["--foo"], 125), (["start"], 125)])
def test_it_takes_no_arguments(arguments: list[str], status: int, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where its settings are."""
    assert main(arguments) == status
    assert capsys.readouterr().err.startswith("usage: ladingd ")


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="needs root")
def test_a_data_root_that_cannot_be_made_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The path and the reason, nothing else."""
    monkeypatch.setenv("LADING_DATA_ROOT", "/proc/nowhere")
    monkeypatch.setenv("LADING_RUN_DIR", "/proc/nowhere/run")
    assert main([]) == 1
    assert capsys.readouterr().err == "ladingd: /proc/nowhere: No such file or directory\n"
