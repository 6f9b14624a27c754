"""COPY and ADD: which files are meant, and where each of them goes. Pure: trees are looked at through a Protocol.

Paths are relative to the root of their tree, without a slash at either end; the root is the empty text. A link that is
named, or that leads to the destination, is followed inside of its own tree; links below what is named stay links.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from domain.build.ignore import Rules
from domain.build.patterns import Class, Wrong, matches, may_hold, names
from domain.build.scope import Bring
from domain.errors import InvalidValue, NotFound, Refused
from domain.images.config import LONGEST_PATH
from domain.text.safe import safe

Kind = Literal["file", "directory", "link", "other"]
_MOST_LINKS = 40
_NEW_DIRECTORY, _NEW_FILE = 0o755, 0o644


@dataclass(frozen=True, slots=True)
class Node:
    """Something in a tree; `target` of a link, `identity` is the same for all names of one file with several."""

    path: str
    kind: Kind
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    target: str = ""
    identity: object = None
    xattrs: tuple[tuple[bytes, bytes], ...] = ()


class Tree(Protocol):
    """A context, or the root file system of an image."""

    def look(self, path: str) -> Node | None:
        """What is there; the last component is not followed, and neither is any before it."""

    def names(self, path: str) -> Sequence[str]:
        """What is in a directory, in order."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Who is to own what is copied."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Placed:
    """One thing in its new place: `node` is what it is made from (None: a new directory, or `content`)."""

    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    node: Node | None = None
    content: bytes | None = None


@dataclass(frozen=True, slots=True)
class Origin:
    """One source that was found: where in the tree, and under which name it goes on (empty: only what is in it)."""

    node: Node
    name: str


def clean(path: str, what: str) -> str:
    """A path relative to its root. Raises: InvalidValue when it leads out."""
    if "\0" in path or len(path) > LONGEST_PATH:
        raise InvalidValue(f'{what}: "{safe(path)[:100]}" cannot be a path')
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise InvalidValue(
                    f"{what}: forbidden path outside the build context: {safe(path)[:200]}",
                    hint="only what is in the context can be copied",
                )
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(parts)


def follow(tree: Tree, path: str, *, missing: bool = False) -> str:
    """Where a path leads inside of its tree, links and all; with `missing` the rest may not be there yet.

    Raises: NotFound, Refused for links in a circle.
    """
    done: list[str] = []
    todo = [part for part in path.split("/") if part]
    links = 0
    while todo:
        part = todo.pop(0)
        if part in (".", ".."):
            done[-1:] = [] if part == ".." else done[-1:]
            continue
        node = tree.look("/".join((*done, part)))
        if node is None:
            if not missing:
                raise NotFound("/".join((*done, part)))
            done.append(part)
        elif node.kind == "link":
            links += 1
            if links > _MOST_LINKS:
                raise Refused(f"too many links lead to {safe(path)[:200]}")
            done = [] if node.target.startswith("/") else done
            todo = [inner for inner in node.target.split("/") if inner] + todo
        else:
            done.append(part)
    return "/".join(done)


def origins(work: Bring, tree: Tree, *, hidden: Rules | None = None) -> list[Origin]:
    """All that the sources of an instruction mean. Raises: InvalidValue, NotFound, Refused."""
    excluded = _exclusions(work)
    found: list[Origin] = []
    for source in work.sources:
        matching = list(_matching(work, tree, source))
        if not matching:
            raise _missing(work, tree, source, hidden)
        found += [origin for origin in matching
                  if not excluded.hides(origin.node.path if work.parents else origin.name or ".")]
    return found


def _exclusions(work: Bring) -> Rules:
    try:
        return Rules("\n".join(pattern.replace("\n", "") for pattern in work.exclude))
    except Wrong as error:
        raise InvalidValue(f"{work.verb} --exclude: {error}") from error


def _matching(work: Bring, tree: Tree, source: str) -> Iterator[Origin]:
    pivot, inner = ("", source)
    if work.parents and "/./" in source:
        pivot, _, inner = source.partition("/./")
    whole = f"{pivot}/{inner}" if pivot else inner
    top = clean(pivot, work.verb) if pivot else ""
    if not any(c in whole for c in "*?["):
        yield from _named(work, tree, clean(whole, work.verb), top)
        return
    try:
        pattern = names(_cleaned_pattern(whole, work.verb), deep=work.parents)
    except Wrong as error:
        raise InvalidValue(f"{work.verb} {safe(source)}: {error}") from error
    for path in _walk(tree, "", pattern):
        yield from _named(work, tree, path, top)


def _cleaned_pattern(text: str, what: str) -> str:
    return clean(text, what)


def _walk(tree: Tree, directory: str, pattern: "tuple[str | Class, ...]") -> Iterator[str]:
    for name in tree.names(directory):
        path = f"{directory}/{name}" if directory else name
        if matches(pattern, path):
            yield path
        elif may_hold(pattern, path):
            node = tree.look(path)
            if node is not None and node.kind == "directory":
                yield from _walk(tree, path, pattern)


def _named(work: Bring, tree: Tree, path: str, top: str) -> Iterator[Origin]:
    """What is there, once links are followed; nothing if there is none."""
    try:
        real = follow(tree, path)
    except NotFound:
        return
    node = tree.look(real) if real else Node("", "directory", _NEW_DIRECTORY)
    if node is None:
        return
    if work.parents:
        yield Origin(node, path.removeprefix(top).strip("/"))
    else:
        yield Origin(node, "" if node.kind == "directory" else path.rpartition("/")[2])


def _whole(work: Bring) -> str:
    """Where links of a source lead to."""
    return "the context, which no link leads out of" if not work.source else safe(work.source)


def _missing(work: Bring, tree: Tree, source: str, hidden: Rules | None) -> Refused:
    path = source.strip("/")
    while path.startswith("./"):
        path = path[2:]
    rule = hidden.verdict(path) if hidden is not None else None
    node = tree.look(path)
    where = "build context" if not work.source else work.source
    if rule is not None and not rule.keeps:
        hint = f".dockerignore line {rule.number} ({safe(rule.text)[:100]}) hides it"
    elif node is not None and node.kind == "link":
        hint = f"it is a link to {safe(node.target)[:200]}, and there is no such file in {_whole(work)}"
    else:
        hint = "paths are relative to the context" if not work.source else ""
    excluded = " or excluded by .dockerignore" if not work.source else ""
    return Refused(
        f"{work.verb} failed: file not found in {safe(where)}{excluded}: stat {safe(source)[:200]}: "
        "file does not exist", hint=hint,
    )


@dataclass(frozen=True, slots=True)
class Placing:
    """The whole of one COPY: what is copied, into which image, and whose it becomes (`owner` None: as it was)."""

    work: Bring
    source: Tree
    image: Tree
    owner: Owner | None
    mode: "Mode | None" = None

    def all(self, found: Sequence[Origin]) -> Iterator[Placed]:
        """Everything with its place, directories before what is in them. Raises: Refused, InvalidValue."""
        count = len(found) + len(self.work.inline)
        target = self._target(count)
        yield from self._way(target.path if target.directory else target.path.rpartition("/")[0])
        excluded = _exclusions(self.work)
        for name, text in self.work.inline:
            path = f"{target.path}/{name}".lstrip("/") if target.directory else target.path
            self._check_file(path)
            yield self._own(Placed(path, "file", _NEW_FILE, 0, 0, content=text.encode("utf-8", "surrogateescape")))
        made: set[str] = set()
        for origin in found:
            if origin.node.kind == "directory":
                if not target.directory and not self._is_directory(target.path):
                    yield from self._directory_itself(target.path)
                yield from self._tree(origin, target.path, excluded, made)
            else:
                yield from self._single(origin, target, made)

    def _target(self, count: int) -> "_Target":
        """Where things go; a directory when it was said, is one already, or has to be one for several things."""
        text = self.work.destination
        says_directory = text.endswith("/") or self.work.parents
        path = follow(self.image, text.strip("/"), missing=True)
        there = self.image.look(path) if path else Node("", "directory")
        if count > 1 and not says_directory:
            raise Refused(
                f"When using {self.work.verb} with more than one source file, the destination must be a directory and "
                "end with a /"
            )
        if there is not None and there.kind != "directory" and says_directory:
            raise Refused(f"{self.work.verb}: cannot copy to non-directory: /{safe(path)}")
        self._check_way(path.rpartition("/")[0])
        return _Target(path, says_directory or (there is not None and there.kind == "directory"))

    def _check_way(self, path: str) -> None:
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            there = self.image.look("/".join(parts[:depth]))
            if there is None:
                return
            if there.kind != "directory":
                raise Refused(f"{self.work.verb}: /{safe('/'.join(parts[:depth]))} is not a directory in the image")

    def _is_directory(self, path: str) -> bool:
        there = self.image.look(path) if path else Node("", "directory")
        return there is not None and there.kind == "directory"

    def _way(self, path: str) -> Iterator[Placed]:
        """Directories on the way to a place that the image does not have yet."""
        parts = path.split("/") if path else []
        for depth in range(1, len(parts) + 1):
            above = "/".join(parts[:depth])
            if self.image.look(above) is None:
                yield from self._directory_itself(above)

    def _directory_itself(self, path: str) -> Iterator[Placed]:
        there = self.image.look(path)
        if there is not None and there.kind != "directory":
            raise Refused(f"{self.work.verb}: cannot copy a directory to non-directory: /{safe(path)}")
        owner = self.owner or Owner(0, 0)
        yield Placed(path, "directory", _NEW_DIRECTORY, owner.uid, owner.gid)

    def _single(self, origin: Origin, target: "_Target", made: set[str]) -> Iterator[Placed]:
        if self.work.parents:
            yield from self._parents(origin, target.path, made)
        name = origin.name or origin.node.path.rpartition("/")[2]
        path = f"{target.path}/{name}".lstrip("/") if target.directory else target.path
        self._check_file(path)
        yield self._placed(origin.node, path)

    def _parents(self, origin: Origin, target: str, made: set[str]) -> Iterator[Placed]:
        """`--parents`: the directories above a source, as they are in its tree."""
        parts = origin.name.split("/")[:-1]
        skipped = origin.node.path.split("/")
        for depth in range(1, len(parts) + 1):
            path = "/".join(filter(None, (target, *parts[:depth])))
            if path in made:
                continue
            made.add(path)
            above = "/".join(skipped[: len(skipped) - (len(parts) + 1) + depth])
            node = self.source.look(above)
            if node is not None and node.kind == "directory":
                yield self._placed(node, path)

    def _tree(self, origin: Origin, target: str, excluded: Rules, made: set[str]) -> Iterator[Placed]:
        """All that is in a directory, and with `--parents` the directory itself."""
        top = target
        if self.work.parents and origin.name:
            yield from self._parents(origin, target, made)
            top = "/".join(filter(None, (target, origin.name)))
            if top not in made:
                made.add(top)
                yield self._placed(origin.node, top)
        todo = [(origin.node.path, top, "")]
        while todo:
            directory, place, relative = todo.pop()
            below: list[tuple[str, str, str]] = []
            occupied = self._is_directory(place)  # else nothing in it can be in the way
            for name in self.source.names(directory):
                node = self.source.look(f"{directory}/{name}" if directory else name)
                inner = f"{relative}/{name}" if relative else name
                told = node.path if node is not None and self.work.parents else inner
                hidden = excluded.hides(told)
                if node is None or (hidden and (node.kind != "directory" or excluded.hides_all(told))):
                    continue
                path = f"{place}/{name}" if place else name
                if node.kind == "directory":
                    below.append((node.path, path, inner))
                    if occupied:
                        self._check_directory(path)
                    if hidden:
                        continue
                elif occupied:
                    self._check_file(path)
                yield self._placed(node, path)
            todo += reversed(below)

    def _check_directory(self, path: str) -> None:
        there = self.image.look(path)
        if there is not None and there.kind != "directory":
            raise Refused(
                f"{self.work.verb}: cannot put a directory where the image has a {there.kind}: /{safe(path)}",
                hint="name the directory that it leads to as the destination" if there.kind == "link" else "",
            )

    def _check_file(self, path: str) -> None:
        if not path or self._is_directory(path):
            raise Refused(
                f"{self.work.verb}: cannot put a file where the image has a directory: /{safe(path)}",
                hint="say the name of the file, or end the destination with a /",
            )

    def _placed(self, node: Node, path: str) -> Placed:
        if node.kind == "other":
            raise Refused(
                f"{self.work.verb}: {safe(node.path)} is neither a file, nor a directory, nor a link",
                hint="devices, pipes and sockets cannot be copied; .dockerignore can hide it",
            )
        if ".wh." in path and any(part.startswith(".wh.") for part in path.split("/")):
            raise Refused(f"{self.work.verb}: a layer cannot hold a name that begins with .wh.: /{safe(path)}")
        if len(path) > LONGEST_PATH:
            raise Refused(f"{self.work.verb}: a path becomes too long: /{safe(path)[:100]}…")
        owner = self.owner or node
        return Placed(path, node.kind, self._mode(node.kind, node.mode), owner.uid, owner.gid, node)

    def _own(self, placed: Placed) -> Placed:
        owner = self.owner or placed
        return replace(placed, mode=self._mode(placed.kind, placed.mode), uid=owner.uid, gid=owner.gid)

    def _mode(self, kind: Kind, mode: int) -> int:
        if self.mode is None or kind == "link":
            return mode
        return self.mode.of(mode, directory=kind == "directory")


@dataclass(frozen=True, slots=True)
class _Target:
    path: str
    directory: bool


@dataclass(frozen=True, slots=True)
class Mode:
    """`--chmod`: `0644`, or `u=rwX,go=rX` (clauses of who, operator, rights)."""

    number: int | None
    clauses: tuple[tuple[str, str, str], ...] = ()

    def of(self, mode: int, *, directory: bool) -> int:
        """The mode of a file that had `mode`."""
        if self.number is not None:
            return self.number
        for who, operator, rights in self.clauses:
            mode = _clause(mode, who, operator, rights, directory=directory)
        return mode


_SHIFTS = {"u": 6, "g": 3, "o": 0}


def parse_mode(text: str, what: str) -> Mode | None:
    """Raises: InvalidValue."""
    if not text:
        return None
    if all(c in "01234567" for c in text) and len(text) <= 5:
        number = int(text, 8)
        if number <= 0o7777:
            return Mode(number)
    clauses = []
    for clause in text.split(","):
        who = clause[: len(clause) - len(clause.lstrip("ugoa"))]
        rest = clause[len(who) :]
        if rest[:1] not in ("+", "-", "=") or any(c not in "rwxXst" for c in rest[1:]):
            raise InvalidValue(f"{what}: invalid mode: {safe(text)[:50]}", hint="--chmod=644, or --chmod=u=rwX,go=rX")
        clauses.append((("ugo" if not who or "a" in who else who), rest[0], rest[1:]))
    return Mode(None, tuple(clauses))


def _clause(mode: int, who: str, operator: str, rights: str, *, directory: bool) -> int:
    bits = special = 0
    for right in rights:
        if right == "X":
            bits |= 1 if directory or mode & 0o111 else 0
        elif right == "s":
            special |= (0o4000 if "u" in who else 0) | (0o2000 if "g" in who else 0)
        elif right == "t":
            special |= 0o1000
        else:
            bits |= {"r": 4, "w": 2, "x": 1}[right]
    given = special
    mask = 0
    for one in who:
        given |= bits << _SHIFTS[one]
        mask |= 0o7 << _SHIFTS[one]
    if operator == "+":
        return mode | given
    if operator == "-":
        return mode & ~given
    return mode & ~mask | given
