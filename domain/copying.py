"""Where a copy lands: the rules of `cp`, as the industry's CLI has them. Pure.

    place("/data", is_directory=True, target="/srv/backup", found=MISSING) == Placement("/srv", "backup")
    place("/data/.", is_directory=True, target="/srv", found=DIRECTORY)    == Placement("/srv", ".")

A copy is an archive that is written under one name and spread in one directory; so all that the rules decide are these
two. A name is `.` when the content of a directory is meant and not the directory.
"""

from dataclasses import dataclass
from posixpath import normpath
from typing import Literal

from domain.errors import InvalidValue, Refused

STREAM = "-"
Kind = Literal["missing", "file", "directory", "link", "other"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a path is; `target` is where a link leads, `path` what was looked at."""

    kind: Kind
    path: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Spread the archive in `directory`, where its top is called `name`."""

    directory: str
    name: str


@dataclass(frozen=True, slots=True)
class End:
    """One side of a copy: a path of a container, or (no container) of the client; `-` is a stream."""

    container: str
    path: str


def sides(source: str, target: str) -> tuple[End, End]:
    """What the two arguments mean; exactly one of them is in a container. Raises InvalidValue."""
    for name, argument in (("source", source), ("destination", target)):
        if not argument:
            raise InvalidValue(f"{name} can not be empty")
    ends = _end(source), _end(target)
    if ends[0].container and ends[1].container:
        raise InvalidValue(
            "copying between containers is not supported",
            hint=f"let a stream pass by: lading cp {source} - | lading cp - {target}",
        )
    if not ends[0].container and not ends[1].container:
        raise InvalidValue(
            "must specify at least one container source", hint="a path in a container is written CONTAINER:PATH"
        )
    return ends


def _end(argument: str) -> End:
    """`web:/etc/hosts`; what is absolute, or begins with a dot, is a path of the client whatever it holds."""
    container, colon, path = argument.partition(":")
    if not colon or not container or argument.startswith(("/", ".")):
        return End("", argument)
    return End(container, inside(path))


def inside(path: str) -> str:
    """A path in a container: absolute, because the root is where relative ones begin."""
    return absolute(path, "/")


def absolute(path: str, directory: str) -> str:
    """The same path from the root on, without detours; a trailing `/` or `/.` stays, for it means something."""
    whole = path if path.startswith("/") else f"{directory}/{path}"
    clean = "/" + normpath(whole).lstrip("/")
    if clean == "/":
        return clean
    if path == "." or path.endswith("/."):
        return clean + "/."
    return clean + "/" if path.endswith("/") else clean


def base(path: str) -> str:
    """What a clean path calls its object; `.` for the content of a directory, and for the root."""
    if path == "/" or path.endswith("/."):
        return "."
    return path.rstrip("/").rpartition("/")[2]


def split(path: str) -> tuple[str, str]:
    """The directory that holds the object, and its name."""
    if path.endswith("/."):
        return path[:-2] or "/", "."
    above, _, name = path.rstrip("/").rpartition("/")
    return above or "/", name or "."


def linked(found: Found) -> str:
    """Where the link at `found.path` leads, as a clean path."""
    return absolute(found.target, split(found.path)[0])


def place(source: str, *, is_directory: bool, target: str, found: Found) -> Placement:
    """Where a copy of `source` goes that is to be at `target`; `found` is what is there. Raises Refused."""
    name = base(source)
    if found.kind == "directory":
        return Placement(target, name)
    directory, own = split(target)
    if found.kind != "missing":
        if is_directory:
            raise Refused("cannot copy directory", hint=f"{target} is a file")
        if target.endswith(("/", "/.")):
            raise Refused("not a directory", hint=f"{target} is a file")
        return Placement(directory, own)
    if not is_directory and target.endswith(("/", "/.")):
        raise Refused("no such directory", hint=f"{target} does not exist")
    return Placement(directory, own)
