"""Steps on the host that fail: whoever asked hears what, where and why."""

from typing import Any, cast

import pytest

from adapters.kernel import apply
from domain.errors import KernelError


def test_a_file_that_could_not_be_written_whole_is_named() -> None:
    """A container with half an /etc/hosts must not start, and a full disk is told with the path."""
    step = ("WriteFile", "/dev/full", "127.0.0.1 localhost\n", 0o666)
    with pytest.raises(KernelError, match=r"^write /dev/full: No space left on device$"):
        apply.run_host([step], cast(Any, None))
