"""What a `.dockerignore` keeps out of an archive. The standard library and the rules: the thin client uses it."""

import os
from collections.abc import Callable

from adapters.tar.pack import CLOSED, HIDDEN, KEPT
from domain.build.ignore import Rules


def judge(text: bytes) -> Callable[[bytes], int]:
    """Which names belong to a build context: see `Packer`."""
    rules = Rules(os.fsdecode(text))

    def verdict(name: bytes) -> int:
        path = os.fsdecode(name)
        if not rules.hides(path):
            return KEPT
        return CLOSED if rules.hides_all(path) else HIDDEN

    return verdict
