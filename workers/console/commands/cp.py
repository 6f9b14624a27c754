"""cp: copy files between a container and the client."""

from domain.copying import STREAM, sides
from domain.errors import InvalidValue
from domain.options import flag
from domain.text.safe import legible, safe
from domain.text.units import human_size
from workers.console.copies import Copy
from workers.console.errors import Plain
from workers.console.verb import Example, Invocation, Verb


async def _cp(invocation: Invocation) -> int:
    options, terminal = invocation.options, invocation.call.terminal
    try:
        source, target = sides(*invocation.arguments)
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint) from error
    if target.path == STREAM and not target.container and terminal.stdout_tty:
        raise Plain("cowardly refusing to write an archive to a terminal", hint="redirect it: lading cp … - > FILE")
    if source.path == STREAM and not source.container and terminal.stdin_tty:
        raise Plain("an archive is expected on standard input, but that is a terminal")
    id = await invocation.engine.resolve(legible(source.container or target.container))
    copy = Copy(invocation, id, owners=options.flag("archive"), follow=options.flag("follow-link"))
    size = await (copy.take_out if source.container else copy.bring_in)(source, target)
    if terminal.stderr_tty and not options.flag("quiet") and target.path != STREAM:
        await invocation.warn(f"Successfully copied {human_size(size)} to {safe(copy.done)}")
    return 0


VERB = Verb(
    name="cp",
    usage="[OPTIONS] [CONTAINER:]SRC_PATH|- [CONTAINER:]DEST_PATH|-",
    summary="Copy files and directories between a container and the host",
    run=_cp,
    least=2,
    most=2,
    also=("container cp",),
    paths=2,
    options=(
        flag("archive", "a", "Keep owners, times to the nanosecond, and the bits that give rights"),
        flag("follow-link", "L", "Copy what a link leads to"),
        flag("quiet", "q", "No summary"),
    ),
    notes="""\
A directory is copied into a directory that exists, under its own name; DIR/. means what is in it. When the destination
does not exist, it becomes the copy. A copy never leads out of the container, nor out of the destination, whatever the
container's processes do meanwhile; running, paused and stopped containers are all the same.
What is copied into a container belongs to its root, what is copied out to you, unless -a says otherwise.
With - the other side is a tar stream on standard input or output.""",
    examples=(
        Example("lading cp web:/etc/nginx ./backup", "out of a container, running or not"),
        Example("tar c site | lading cp - web:/srv", "into it, from a stream"),
    ),
)
