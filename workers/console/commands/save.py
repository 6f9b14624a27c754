"""save: write images to an archive that load, docker, podman and skopeo read."""

from domain.options import FILE, one
from workers.console.errors import Plain
from workers.console.images import meant
from workers.console.platforms import SURE, ensure
from workers.console.verb import Example, Invocation, Verb

_MODE = 0o600


async def _save(invocation: Invocation) -> int:
    call, path = invocation.call, invocation.options.one("output")
    if path is None and call.terminal.stdout_tty:
        raise Plain("cowardly refusing to save to a terminal. Use the -o flag or redirect")
    await ensure(invocation, *invocation.arguments)
    for id in await meant(invocation.engine.images, invocation.arguments):
        invocation.reading.about("image", id)
    archive = invocation.engine.images.save(invocation.arguments)
    if path is not None:
        await call.write_file(path, _MODE, archive)
        return 0
    async for piece in archive:
        await call.out(piece)
    return 0


VERB = Verb(
    name="save",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    summary="Write images to an archive",
    run=_save,
    least=1,
    also=("image save",),
    options=(
        one("output", "o", "Write to a file (mode 0600) instead of standard output", value=FILE),
        SURE,
    ),
    notes="""\
A repository without a tag stands for all its tags. The archive is an OCI layout and docker's format in one; the same
images under the same names always give the same bytes.""",
    reads="save",
    examples=(
        Example("lading save web:1.2 -o web.tar", "for lading load, docker load or skopeo"),
        Example("lading save web alpine | gzip >both.tar.gz", "several in one archive; layers are there once"),
    ),
)
