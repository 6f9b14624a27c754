"""A digest that is worked out beside whoever passes the pieces on."""

import hashlib
import threading

import pytest

from adapters.images.digesting import Digesting


def test_it_is_that_of_all_pieces_in_order() -> None:
    """More of them than may wait."""
    pieces = [bytes([number]) * 5000 for number in range(100)]
    with Digesting() as digest:
        for piece in pieces:
            digest.update(piece)
    assert digest.hexdigest() == hashlib.sha256(b"".join(pieces)).hexdigest()


def test_without_pieces_it_is_that_of_nothing() -> None:
    """An empty layer has one, too."""
    with Digesting() as digest:
        pass
    assert digest.hexdigest() == hashlib.sha256().hexdigest()


def test_its_thread_ends_when_the_pieces_fail() -> None:
    """A pull that is called off leaves none."""

    def passing() -> None:
        with Digesting() as digest:
            digest.update(b"x" * 100_000)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        passing()
    assert "digest" not in {thread.name for thread in threading.enumerate()}
