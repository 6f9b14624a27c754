"""What `--cache-from` takes steps from: images, by the keys that they carry, or else by their history. Pure.

An image that was built here tells in its config under which keys its layers were kept, and how many layers each key
stands for:

    {"architecture": "amd64", "config": {…}, "rootfs": {…}, "history": […],
     "lading.build.v1": {"<64 hex digits>": 2, "<64 hex digits>": 3}}

Others ignore that. Images of other builders have no keys. Of them a command can be taken when all that was said before
it is said in their history word by word, and the layers below are the same: then nothing it depends on can differ.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.build.scope import Execute
from domain.images.config import history
from domain.images.model import Image, Layer

RECORD = "lading.build.v1"
MOST_KEYS = 1000
_NOP = "/bin/sh -c #(nop)"
_EXPANDS = re.compile(r"(?:ENV|WORKDIR|USER|SHELL|ARG)\b.*\$", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Loan:
    """The layers after a step that an image has done before; `created` is when, as its history says it."""

    lender: Image
    layers: tuple[Layer, ...]
    created: str

    @property
    def layer(self) -> Layer:
        """What the step has added."""
        return self.layers[-1]


def record(keys: Mapping[str, int]) -> dict[str, Any]:
    """What is added to the config of an image that was built: nothing if it has no steps."""
    kept = dict(list(keys.items())[-MOST_KEYS:])
    return {RECORD: kept} if kept else {}


def by_key(lenders: Sequence[Image], keys: Sequence[str], below: Sequence[Layer]) -> Loan | None:
    """What one of these keys stands for in one of the images, on the same layers."""
    for lender in lenders:
        told = lender.config.get(RECORD)
        if isinstance(told, Mapping) and any(told.get(key) == len(below) + 1 for key in keys) and _on(lender, below):
            return _loan(lender, len(below) + 1)
    return None


def by_history(
    lenders: Sequence[Image], work: Execute, entries: Sequence[Mapping[str, Any]], created_by: str,
    below: Sequence[Layer],
) -> Loan | None:
    """The same command in the history of one of the images, on the same layers and after the same words."""
    wanted = [_words(entry) for entry in entries]
    if work.mounts or work.script or work.network or any(_EXPANDS.match(text) for text, _ in wanted):
        return None
    wanted.append((_bare(created_by), False))
    for lender in lenders:
        if RECORD in lender.config or not _on(lender, below):
            continue
        if [_words(entry) for entry in history(lender.config)[: len(wanted)]] == wanted:
            return _loan(lender, len(below) + 1)
    return None


def _on(lender: Image, below: Sequence[Layer]) -> bool:
    """Whether an image has these layers at its bottom, and one more."""
    if len(lender.layers) <= len(below):
        return False
    return not below or lender.layers[len(below) - 1].chain_id == below[-1].chain_id


def _loan(lender: Image, number: int) -> Loan:
    made = [entry for entry in history(lender.config) if not entry.get("empty_layer")]
    created = made[number - 1].get("created", "") if len(made) == len(lender.layers) else ""
    return Loan(lender, lender.layers[:number], str(created))


def _words(entry: Mapping[str, Any]) -> tuple[str, bool]:
    """What one line of a history says, and whether it has no layer."""
    return _bare(str(entry.get("created_by", ""))), bool(entry.get("empty_layer"))


def _bare(text: str) -> str:
    """The same, however a builder has written it: `RUN /bin/sh -c make # buildkit`, `/bin/sh -c #(nop)  ENV A=1`."""
    text = text.removesuffix(" # buildkit").removeprefix("RUN ")
    return text.removeprefix(_NOP).strip()
