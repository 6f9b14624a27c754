"""Cache keys: everything that a step depends on, each part with a name, so that a miss can say what has changed. Pure.

A key is the SHA-256 of all (name, value) pairs. Of each value only a short digest is kept beside it: it may be a secret
or a megabyte, and comparing needs no more. The base of a step is named by the layers below it, not by how these came
about: what was built anew with the same bytes changes nothing.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from domain.build.scope import Bring, Enter, Execute
from domain.text.safe import safe

Parts = tuple[tuple[str, str], ...]
"""(name, short digest of the value), in order."""
MOST_FILES = 400
"""Files that are kept by name with a key; of more only their directories are."""
FOLDED = "/…"
"""Ends the name of a directory that stands for what is in it."""
_SHORT = 16


@dataclass(frozen=True, slots=True)
class Key:
    """`digest` is the key itself, 64 hex digits."""

    digest: str
    parts: Parts


@dataclass(frozen=True, slots=True)
class File:
    """What counts of a file that is copied: its path below the destination, and a digest over its kind, mode, owner,
    link target and content. Never its times."""

    path: str
    digest: str


def digest(value: object) -> str:
    """Of anything that JSON can hold."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def key(named: Iterable[tuple[str, object]]) -> Key:
    """The key of all these values."""
    parts = [(name, digest(value)) for name, value in named]
    return Key(digest(parts), tuple((name, value[:_SHORT]) for name, value in parts))


def step(text: str) -> str:
    """What the same step of another build has in common with this one: its text."""
    return digest(text)[:_SHORT]


def of_run(
    work: Execute, base: str, platform: str, mounted: Sequence[tuple[str, str]] = (), hosts: Sequence[str] = ()
) -> Key:
    """A command: what it executes, where, as whom, with which environment, on which base. Neither labels nor other
    commands of the image, nor proxies, nor secrets. `mounted` are the digests of what is mounted from elsewhere,
    `hosts` what is said of names in its network."""
    ignored = set(work.proxies)
    variables = [item.partition("=")[::2] for item in work.env]
    named: list[tuple[str, object]] = [("base", base), ("command", [*work.argv, work.script])]
    named += [("platform", platform), ("directory", work.workdir), ("user", work.user), ("network", work.network)]
    for name, value in sorted(variables):
        if name not in ignored:
            named.append((f"{'ARG' if name in work.arguments else 'ENV'} {name}", value))
    named += [(f"mount {mount.get('target') or mount.get('id', '')}", _mount(mount)) for mount in work.mounts]
    named += [(f"content of {name}", value) for name, value in mounted]
    named += [("hosts", sorted(hosts))] if hosts else []
    return key(named)


def _mount(mount: Mapping[str, str]) -> dict[str, str]:
    """Where a stage is mounted from is told by its content."""
    return {name: value for name, value in mount.items() if name != "from"}


def of_copy(work: Bring, base: str, files: Sequence[File], owner: str) -> Key:
    """Files: what they are and where they go; the names they had before count for nothing."""
    named: list[tuple[str, object]] = [("base", base), ("destination", work.destination), ("owner", owner)]
    named += [("mode", work.chmod), ("unpack", work.unpack if work.add else None)]
    return key([*named, *(("file " + path, value) for path, value in condensed(files))])


def of_source(work: Bring, base: str, source: str, owner: str) -> Key:
    """The same by where they come from, layers and all: what a content key need not be worked out for."""
    return key([
        ("base", base), ("from", source), ("destination", work.destination), ("sources", list(work.sources)),
        ("owner", owner), ("mode", work.chmod), ("parents", work.parents), ("exclude", list(work.exclude)),
        ("inline", [list(pair) for pair in work.inline]),
    ])


def of_directory(work: Enter, base: str, owner: str) -> Key:
    """A working directory that has to be made."""
    return key([("base", base), ("directory", work.path), ("owner", owner)])


def of_image(layers: str, document: Mapping[str, Any]) -> Key:
    """A whole image but for its times: the same again is the same image."""
    return key([("layers", layers), ("configuration", timeless(document))])


def timeless(document: Mapping[str, Any]) -> dict[str, Any]:
    """An image's config as far as it says what the image is: neither when it was made nor by which steps it is found
    again."""
    entries = document.get("history") or ()
    kept = {name: value for name, value in document.items() if not name.startswith("lading.")}
    return {**kept, "created": "", "history": [{**entry, "created": ""} for entry in entries]}


def condensed(files: Sequence[File]) -> list[tuple[str, str]]:
    """(path, digest) of each, in order; of directories instead when there are too many, the deepest ones first."""
    named = sorted((file.path, file.digest) for file in files)
    depth = max((path.count("/") for path, _ in named), default=0)
    while len(named) > MOST_FILES and depth > 0:
        named = _folded(named, depth)
        depth -= 1
    return named if len(named) <= MOST_FILES else [("…", digest(named))]


def _folded(named: Sequence[tuple[str, str]], depth: int) -> list[tuple[str, str]]:
    """All that is `depth` directories deep is told by the directory it is in."""
    groups: dict[str, list[tuple[str, str]]] = {}
    kept: list[tuple[str, str]] = []
    for path, value in named:
        parts = path.rstrip("/").split("/")
        if len(parts) > depth:
            groups.setdefault("/".join(parts[:depth]) + FOLDED, []).append((path, value))
        else:
            kept.append((path, value))
    return sorted([*kept, *((name, digest(group)) for name, group in groups.items())])


def cause(before: Parts | None, now: Parts) -> str:
    """Why a step is not in the cache, from what it depended on the last time: the first thing that is different, and
    how many more of its kind are."""
    if before is None:
        return "it was not built before"
    old, new = dict(before), dict(now)
    changed = [name for name, value in now if name in old and old[name] != value]
    added = [name for name, _ in now if name not in old]
    gone = [name for name, _ in before if name not in new]
    for kind in ("base", "command", "ARG ", "ENV ", ""):
        for names, how in ((changed, "changed"), (added, "is new"), (gone, "is gone")):
            fitting = [name for name in names if name.startswith(kind)]
            if fitting:
                return _told(fitting, how)
    return "it is not kept any more"


def _told(names: Sequence[str], how: str) -> str:
    first = safe(names[0])
    files = [name for name in names if name.startswith("file ")]
    if names[0].startswith("file "):
        more = f" (and {len(files) - 1} more)" if len(files) > 1 else ""
        return f"{first.removeprefix('file ')} {how}{more}"
    more = f" (and {len(names) - 1} more)" if len(names) > 1 and names[0][:4] in ("ARG ", "ENV ") else ""
    return f"{first} {how}{more}"
