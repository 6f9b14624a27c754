"""load: bring in the images of an archive that save made, here or with another engine."""

from domain.options import flag, one
from domain.text.safe import safe
from workers.console.archives import content
from workers.console.errors import Plain
from workers.console.platforms import platform
from workers.console.verb import Example, Invocation, Verb


async def _load(invocation: Invocation) -> int:
    call, path, wanted = invocation.call, invocation.options.one("input"), platform(invocation.options)
    if path is None and call.terminal.stdin_tty:
        raise Plain("requested load from stdin, but stdin is empty", hint="name the archive: lading load -i FILE")
    archive = await content(call, path)
    for line in await invocation.engine.images.load_stream(archive, invocation.who, wanted):
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
        one("platform", "", "Only what is for this platform: OS/ARCHITECTURE[/VARIANT]", value="platform"),
    ),
    examples=(
        Example("lading load -i images.tar", "docker and OCI archives, packed or not"),
        Example("docker save web | lading load", "from another engine"),
        Example("lading load -i all.tar --platform arm64", "of images for several platforms, those for this one"),
    ),
)
