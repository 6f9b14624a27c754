"""`build --output`: the files of a result for the client, instead of an image.

    -o DIR  -o type=local,dest=DIR     the files below a directory, which is made if it is missing
    -o type=tar,dest=FILE              one archive
    -o -    -o type=tar                the archive on standard output
"""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass

from domain.copying import absolute
from domain.options import OptionError
from domain.text.safe import legible
from workers.build.builder import Builder
from workers.build.request import Built
from workers.console.call import Call
from workers.console.errors import Plain

STDOUT = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """A directory, or (`archive`) a file; `path` is absolute, or `-`."""

    path: str
    archive: bool


def wanted_output(values: Sequence[str], call: Call) -> Output | None:
    """What `--output` says; None when an image is wanted. Raises OptionError, Plain."""
    found = _wanted(values, call.cwd)
    if found is not None and found.path == STDOUT and call.terminal.stdout_tty:
        hint = "redirect it: lading build -o - . > FILE"
        raise Plain("cowardly refusing to write an archive to a terminal", hint=hint)
    return found


def _wanted(values: Sequence[str], cwd: str) -> Output | None:
    if not values:
        return None
    if len(values) > 1:
        raise OptionError("a result can be brought out to one place only", hint="say --output once")
    text = values[0]
    if "=" not in text:
        return Output(STDOUT, archive=True) if text == STDOUT else Output(absolute(text, cwd), archive=False)
    words = dict(item.partition("=")[::2] for item in text.split(","))
    kind, place = words.pop("type", ""), words.pop("dest", "")
    if kind in ("docker", "image") and not place and not words:
        return None
    if kind not in ("local", "tar") or words or (kind == "local" and place in ("", STDOUT)):
        raise OptionError(f"invalid output: {text!r}", hint="write type=local,dest=DIR or type=tar,dest=FILE")
    return Output(absolute(place, cwd) if place not in ("", STDOUT) else STDOUT, archive=kind == "tar")


async def bring_out(call: Call, builder: Builder, built: Built, output: Output) -> None:
    """Write the files where they are wanted. Raises Plain, Refused."""
    if output.path == STDOUT:
        async for piece in builder.files(built):
            await call.out(piece)
    elif output.archive:
        await call.write_file(output.path, 0o644, builder.files(built))
    else:
        directory, prefix = await _existing(call, output.path)
        await call.spread(directory, builder.files(built, prefix), "")


async def _existing(call: Call, path: str) -> tuple[str, str]:
    """The nearest directory that is there, and the rest of the way."""
    rest: list[str] = []
    path = posixpath.normpath(path)
    while True:
        kind, real = await call.look(path, follow=True)
        if kind == "directory":
            return real, "/".join(reversed(rest))
        if kind != "missing" or path == "/":
            raise Plain(f"{legible(path)} is not a directory")
        path, _, name = path.rpartition("/")
        path = path or "/"
        rest.append(name)
