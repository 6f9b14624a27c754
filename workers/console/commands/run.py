"""run: create a container from an image, start it, and (without -d) stay until it ends."""

from domain.errors import CommandFailed, InvalidValue, KernelError, LadingError, NotFound
from domain.images import reference
from domain.lifecycle.start import Start
from domain.options import OptionError, UnsupportedError, flag, many
from domain.text.safe import safe
from workers.console.creation import OPTIONS, request
from workers.console.engine import Engine
from workers.console.errors import UNREADABLE, Plain
from workers.console.streams import STDERR, STDOUT, Signals, attached, forwarder
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller
from workers.requests import CreateRequest

_STREAMS = {"stdout": STDOUT, "stderr": STDERR}


async def _run(invocation: Invocation) -> int:
    options, engine, call = invocation.options, invocation.engine, invocation.call
    streams = _attach(invocation)
    wanted = await request(invocation)
    if not options.flag("detach"):
        early = Signals()
        await call.forward_signals(early.take)
    id = await _started(invocation, wanted)
    if options.flag("detach"):
        await invocation.say(id)
        return 0
    await early.send(forwarder(engine, id, invocation.who, proxy=options.flag("sig-proxy")))
    if not await attached(call, engine, id, streams):
        return 0
    status = await engine.wait_exit(id, 1)
    if wanted.auto_remove:
        await engine.wait_removed(id)
    return status


async def _started(invocation: Invocation, wanted: CreateRequest) -> str:
    """The id of the running container. What could not be started and removes itself is gone before this raises."""
    engine = invocation.engine
    if invocation.options.text("cidfile"):
        id = await create(invocation, wanted)
        await engine.execute(id, Start(), Caller(invocation.who.actor))
        return id
    try:
        return await engine.run(wanted, invocation.who)
    except LadingError as error:
        if isinstance(error, CommandFailed | KernelError) and wanted.auto_remove and wanted.name:
            await _gone(engine, wanted.name)
        await _explain(invocation, wanted, error)
        raise


async def _gone(engine: Engine, name: str) -> None:
    try:
        await engine.wait_removed(await engine.resolve(name))
    except NotFound:
        return


def _attach(invocation: Invocation) -> frozenset[int]:
    given = invocation.options.many("attach")
    if given and invocation.options.flag("detach"):
        raise Plain("conflicting options: cannot specify both --attach and --detach")
    for name in given:
        if name.lower() == "stdin":
            raise UnsupportedError("--attach stdin is not supported by this version of lading")
        if name.lower() not in _STREAMS:
            raise OptionError(f'invalid argument "{name}" for "-a, --attach" flag: valid streams are STDOUT and STDERR')
    return frozenset(_STREAMS[name.lower()] for name in given) or frozenset(_STREAMS.values())


async def create(invocation: Invocation, wanted: CreateRequest) -> str:
    """Create the container, with its cidfile; returns its id."""
    path = invocation.options.text("cidfile")
    if path:
        await _reserve(invocation, path)
    try:
        id = await invocation.engine.create(wanted, invocation.who)
    except LadingError as error:
        if path:
            await invocation.call.unlink(path)
        await _explain(invocation, wanted, error)
        raise
    if path:
        # The content can only be given when the file is made: see Call.create_file.
        await invocation.call.unlink(path)
        await invocation.call.create_file(path, 0o644, id.encode())
    return id


async def _reserve(invocation: Invocation, path: str) -> None:
    try:
        await invocation.call.create_file(path, 0o644, b"")
    except LadingError as error:
        there = "make sure that the other container is not running, and delete it"
        raise Plain(
            f"cannot make the container ID file {path}: {error.message}",
            status=UNREADABLE,
            hint=there if "exists" in error.message else "",
        ) from error


async def _explain(invocation: Invocation, wanted: CreateRequest, error: LadingError) -> None:
    """Raises NotFound with the way out, when it is the image that is missing."""
    if not isinstance(error, NotFound) or isinstance(error, CommandFailed):
        return
    if wanted.pull == "missing" and not invocation.options.flag("quiet"):
        await invocation.warn(f"Unable to find image '{safe(_with_tag(wanted.image))}' locally")
    hint = "this version does not pull: get it with lading load -i FILE or lading import FILE NAME"
    raise NotFound(error.message, hint=hint) from error


def _with_tag(image: str) -> str:
    try:
        return str(reference.parse(image))
    except InvalidValue:
        return image


VERB = Verb(
    name="run",
    usage="[OPTIONS] IMAGE [COMMAND] [ARG...]",
    summary="Create and start a container from an image",
    run=_run,
    least=1,
    interspersed=False,
    refusal=UNREADABLE,
    group="Common Commands",
    also=("container run",),
    options=(
        *OPTIONS,
        many("attach", "a", "Show only this stream: stdout or stderr", value="stream"),
        flag("detach", "d", "Let it run in the background and print its id"),
        flag("sig-proxy", "", "Pass signals on to the container", default=True),
    ),
    examples=(
        Example("lading run --rm alpine echo hello", "run one command and leave nothing behind"),
        Example("lading run -d --name web --restart on-failure:3 site httpd -f", "run in the background"),
    ),
)
