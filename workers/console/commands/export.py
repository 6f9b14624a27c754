"""export: the root file system of a container as a tar."""

from domain.lifecycle.files import NoteExported
from domain.options import FILE, one
from workers.console.copies import Counted
from workers.console.errors import Plain
from workers.console.verb import Example, Invocation, Verb
from workers.filedesk import quietly

_MODE = 0o600


async def _export(invocation: Invocation) -> int:
    call, engine, path = invocation.call, invocation.engine, invocation.options.one("output")
    if path is None and call.terminal.stdout_tty:
        raise Plain("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    id = await engine.resolve(invocation.arguments[0])
    broken = True
    async with engine.files.reach(id, whole=False) as access:
        archive = Counted(access.pack("/", "."))
        try:
            if path is None:
                async for piece in archive:
                    await call.out(piece)
            else:
                await call.write_file(path, _MODE, aiter(archive))
            broken = False
        finally:
            if archive.size:
                fact = NoteExported(bytes=archive.size, broken=broken)
                await quietly(engine.files.note(id, fact, invocation.who))
    return 0


VERB = Verb(
    name="export",
    usage="[OPTIONS] CONTAINER",
    summary="Write the root file system of a container as a tar",
    run=_export,
    least=1,
    most=1,
    also=("container export",),
    options=(one("output", "o", "Write to a file (mode 0600) instead of standard output", value=FILE),),
    notes="""\
What is mounted in the container (volumes, file systems in memory, /proc, /sys, /dev) is not a part of it; the
directories they are mounted on are. `lading import` makes an image of it.""",
    examples=(
        Example("lading export web -o web.tar", "running or not"),
        Example("lading export web | lading import - web:flat", "an image of one layer"),
    ),
)
