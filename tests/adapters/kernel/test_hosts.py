"""The file of names in a container that runs: on the host, but written to by anybody inside."""

import os
from pathlib import Path

import pytest

from adapters.kernel import hosts
from domain.errors import KernelError


def test_the_file_stays_the_one_that_is_mounted(tmp_path: Path) -> None:
    """Shorter or longer, with bytes that are no text."""
    file = tmp_path / "etc_hosts"
    file.write_bytes(b"127.0.0.1\tlocalhost\n10.1.2.3\tweb\n# caf\xe9\n")
    number = file.stat().st_ino
    hosts.rewrite(file, frozenset(), ("10.1.3.3\tweb",))
    hosts.rewrite(file, frozenset({"10.1.2.3\tweb", "10.1.3.3\tweb"}), ())
    assert file.read_bytes() == b"127.0.0.1\tlocalhost\n# caf\xe9\n"
    assert file.stat().st_ino == number


def test_what_is_not_such_a_file_is_left_alone(tmp_path: Path) -> None:
    """A link that leads elsewhere, a pipe that nobody writes to, a file without an end, none at all."""
    secret, link, pipe, huge = (tmp_path / name for name in ("secret", "link", "pipe", "huge"))
    secret.write_text("root\n")
    link.symlink_to(secret)
    os.mkfifo(pipe)
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    for path in (link, pipe, huge, tmp_path / "absent"):
        with pytest.raises(KernelError):
            hosts.rewrite(path, frozenset({"root"}), ("10.1.2.3\tweb",))
    assert secret.read_text() == "root\n"
