"""import: make an image of one layer from a tar of a root file system."""

from domain.options import many, one
from domain.text.safe import legible
from workers.console.archives import content
from workers.console.errors import Plain
from workers.console.platforms import platform
from workers.console.verb import Example, Invocation, Verb


async def _import(invocation: Invocation) -> int:
    options, call = invocation.options, invocation.call
    path, reference = (*invocation.arguments, "")[:2]
    if path.startswith(("http://", "https://")):
        raise Plain(
            "import from an address is not supported by this version of lading", hint=f"fetch it first: curl -O {path}"
        )
    if path == "-" and call.terminal.stdin_tty:
        raise Plain("requested import from stdin, but stdin is a terminal")
    wanted = platform(options)
    archive = await content(call, None if path == "-" else path)
    message = options.text("message") or f"Imported from {legible(path)}"
    id = await invocation.engine.images.import_stream(
        archive,
        reference,
        invocation.who,
        message=message,
        changes=options.many("change"),
        platform=wanted,
    )
    await invocation.say(id)
    return 0


VERB = Verb(
    name="import",
    usage="[OPTIONS] FILE|- [REPOSITORY[:TAG]]",
    summary="Make an image from a tar of a root file system",
    run=_import,
    least=1,
    paths=1,
    most=2,
    also=("image import",),
    options=(
        many("change", "c", "Change its configuration: CMD, ENTRYPOINT, ENV, LABEL …", value="instruction"),
        one("message", "m", "A note for its history", value="text"),
        one("platform", "", "What it is for, if not for this machine: OS/ARCHITECTURE", value="platform"),
    ),
    examples=(
        Example("lading import rootfs.tar.gz base:1", "from a file, packed or not"),
        Example("tar -C tree -c . | lading import - base:1", "from a pipe"),
    ),
)
