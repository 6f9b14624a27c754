"""What every test shares: kernel tests say why they cannot run, and a plain run says what it leaves out."""

import os
from pathlib import Path

import pytest

from adapters.kernel.supervisor.process import forget_internal_signals
from tests import examples


def kernel_is_missing() -> str:
    """Why no container can be started here; empty when one can."""
    if os.geteuid() != 0:
        return "needs root"
    if not os.access("/sys/fs/cgroup", os.W_OK):
        return "needs writable cgroups"
    if "overlay" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        return "needs the overlay file system"
    return ""


def pytest_configure() -> None:
    """Under `make` two internal signals of the C library arrive ignored, and every container would inherit that."""
    forget_internal_signals()
    examples.load()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip kernel tests with the reason instead of failing them."""
    reason = kernel_is_missing()
    for item in items:
        if reason and item.get_closest_marker("kernel"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header(config: pytest.Config) -> str | None:
    """Remind of the marks that the default selection leaves out."""
    chosen = config.getoption("markexpr")
    return f"selected: {chosen} (everything: pytest -m '')" if chosen else None
