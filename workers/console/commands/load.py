"""load: bring in the images of an archive that save made, here or with another engine."""

from domain.options import flag, one, refused
from domain.text.safe import safe
from workers.console.errors import Plain
from workers.console.verb import Example, Invocation, Verb


async def _load(invocation: Invocation) -> int:
    call, path = invocation.call, invocation.options.one("input")
    if path is None and call.terminal.stdin_tty:
        raise Plain("requested load from stdin, but stdin is empty", hint="name the archive: lading load -i FILE")
    content = call.stdin() if path is None else call.open_file(path)
    for line in await invocation.engine.images.load_stream(content, invocation.who):
        await invocation.say(safe(line))
    return 0


VERB = Verb(
    name="load",
    usage="[OPTIONS]",
    summary="Bring in images from an archive",
    run=_load,
    most=0,
    also=("image load",),
    options=(
        one("input", "i", "Read this file instead of stdin", value="file"),
        flag("quiet", "q", "No progress"),
        *refused("--platform="),
    ),
    examples=(
        Example("lading load -i images.tar", "docker and OCI archives, packed or not"),
        Example("docker save web | lading load", "from another engine"),
    ),
)
