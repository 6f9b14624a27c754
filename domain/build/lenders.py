"""What `--cache-from` takes steps from: images, by the keys that they carry, or else by their history. Pure.

An image that was built here tells in its config under which keys its layers were kept, and how many layers each key
stands for:

    {"architecture": "amd64", "config": {…}, "rootfs": {…}, "history": […],
     "lading.build.v1": {"<64 hex digits>": 2, "<64 hex digits>": 3}}

Others ignore that. Images of other builders have no keys. Of them a command can be taken when all that it depends on is
said before it in their history word by word, and the layers below are the same. What was copied can be taken when their
layer holds just that: histories do not tell.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.build.scope import Execute
from domain.images.config import history
from domain.images.model import Image, Layer

RECORD = "lading.build.v1"
MOST_KEYS = 1000
_SHELL, _NOP = "/bin/sh -c", " #(nop)"
_SETTINGS = frozenset(("ENV", "ARG", "USER", "WORKDIR", "SHELL"))
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
    wanted = _told(entries)
    if work.mounts or work.script or work.network or any(_EXPANDS.match(text) for text, _ in wanted):
        return None
    command = _bare(created_by, "")
    for loan in others(lenders, below):
        told = _until(loan)
        if told and _bare(str(told[-1].get("created_by", "")), "") == command and _told(told[:-1]) == wanted:
            return loan
    return None


def others(lenders: Sequence[Image], below: Sequence[Layer]) -> list[Loan]:
    """What images of other builders have next on these layers, whatever it is."""
    return [_loan(lender, len(below) + 1) for lender in lenders if RECORD not in lender.config and _on(lender, below)]


def _on(lender: Image, below: Sequence[Layer]) -> bool:
    """Whether an image has these layers at its bottom, and one more."""
    if len(lender.layers) <= len(below):
        return False
    return not below or lender.layers[len(below) - 1].chain_id == below[-1].chain_id


def _loan(lender: Image, number: int) -> Loan:
    made = [entry for entry in history(lender.config) if not entry.get("empty_layer")]
    created = made[number - 1].get("created", "") if len(made) == len(lender.layers) else ""
    return Loan(lender, lender.layers[:number], str(created))


def _until(loan: Loan) -> Sequence[Mapping[str, Any]]:
    """The lines of a history up to that of the layer; none if they are not those of the layers."""
    entries = history(loan.lender.config)
    places = [place for place, entry in enumerate(entries) if not entry.get("empty_layer")]
    return entries[: places[len(loan.layers) - 1] + 1] if len(places) == len(loan.lender.layers) else ()


def _told(entries: Sequence[Mapping[str, Any]]) -> list[tuple[str, bool]]:
    """What the lines of a history say that a command depends on, each with whether it has no layer. Files that were
    copied are told by the layers themselves; labels, ports and commands of the image are for nobody here."""
    found: list[tuple[str, bool]] = []
    shell = _SHELL
    for entry in entries:
        empty = bool(entry.get("empty_layer"))
        text = _bare(str(entry.get("created_by", "")), shell)
        verb = text.partition(" ")[0].upper()
        if verb == "SHELL":
            text, shell = _shell(text)
        if empty and verb in _SETTINGS:
            found.append((text, True))
        elif not empty:
            found.append(("" if verb in ("COPY", "ADD") else text, False))
    return found


def _shell(text: str) -> tuple[str, str]:
    """`SHELL ["sh", "-e"]` as docker writes it, `SHELL [sh -e]`, and what stands before lines that follow."""
    listed = text.partition(" ")[2].strip()
    try:
        words = " ".join(map(str, json.loads(listed)))
    except ValueError:
        words = listed.strip("[]")
    return f"SHELL [{words}]", words


def _bare(text: str, shell: str) -> str:
    """The same, however a builder has written it: `RUN /bin/sh -c make # buildkit`, `/bin/sh -c #(nop)  ENV A=1`. The
    line of a new shell begins with that already."""
    text = text.removesuffix(" # buildkit").removeprefix("RUN ")
    before, nop, said = text.partition(_NOP)
    if nop and (before in (_SHELL, shell) or said.strip() == f"SHELL [{before}]"):
        return said.strip()
    return text.strip()
