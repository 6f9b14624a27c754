"""run: create a container from an image, start it, and (without -d) stay until it ends."""

from domain.errors import CommandFailed, KernelError, LadingError, NotFound
from domain.lifecycle.attach import Attach
from domain.lifecycle.start import Start
from domain.options import flag
from domain.text.safe import safe
from workers.console import networks
from workers.console.commands.pull import fetch
from workers.console.creation import OPTIONS, attached_streams, request
from workers.console.engine import Engine
from workers.console.errors import UNREADABLE, Plain
from workers.console.streams import (
    DETACH_KEYS,
    Left,
    Signals,
    Wiring,
    attached,
    detach_keys,
    ended_with,
    forwarder,
    patience,
    require_terminal,
    size,
)
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller
from workers.requests import CreateRequest


async def _run(invocation: Invocation) -> int:
    wiring = _wiring(invocation)
    wanted = await request(invocation)
    await advise(invocation, wanted)
    await refresh(invocation, wanted)
    if invocation.options.flag("detach"):
        await invocation.say(await _started(invocation, wanted, None))
        return 0
    return await _foreground(invocation, wanted, wiring)


async def _foreground(invocation: Invocation, wanted: CreateRequest, wiring: Wiring) -> int:
    engine, call, early = invocation.engine, invocation.call, Signals()
    if not wanted.tty:
        await call.forward_signals(early.take)
    id = await _started(invocation, wanted, Attach(streams=wiring.names, tty=wanted.tty))
    if not wanted.tty:
        await early.send(forwarder(engine, id, invocation.who, proxy=invocation.options.flag("sig-proxy")))
    if not wiring.streams:
        await invocation.say(id)
    frames = engine.output(id, from_start=True, hold=patience(call.terminal))
    if await attached(call, engine, id, wiring, frames) is not Left.ENDED:
        return 0
    status = await ended_with(invocation, id, 1)
    if wanted.auto_remove:
        await engine.wait_removed(id)
    return status


async def _started(invocation: Invocation, wanted: CreateRequest, attach: Attach | None) -> str:
    """The id of the running container. What could not be started and removes itself is gone before this raises."""
    engine, extent = invocation.engine, size(invocation.call.terminal, tty=wanted.tty)
    if invocation.options.text("cidfile"):
        id = await create(invocation, wanted)
        await engine.execute(id, Start(size=extent), Caller(invocation.who.actor), attach=attach)
        return id
    try:
        try:
            return await engine.run(wanted, invocation.who, attach=attach, size=extent)
        except NotFound as error:
            await _fetched(invocation, wanted, error)
            return await engine.run(wanted, invocation.who, attach=attach, size=extent)
    except LadingError as error:
        if isinstance(error, CommandFailed | KernelError) and wanted.auto_remove and wanted.name:
            await _gone(engine, wanted.name)
        raise


async def _gone(engine: Engine, name: str) -> None:
    try:
        await engine.wait_removed(await engine.resolve(name))
    except NotFound:
        return


def _wiring(invocation: Invocation) -> Wiring:
    """What of the client is to be connected. Raises OptionError, Plain."""
    options = invocation.options
    streams, stdin = attached_streams(options)
    keys = detach_keys(options.text("detach-keys"), UNREADABLE)
    if options.flag("detach"):
        if options.many("attach"):
            raise Plain("conflicting options: cannot specify both --attach and --detach")
        return Wiring()
    tty = options.flag("tty")
    require_terminal(invocation.call, stdin=stdin, tty=tty)
    return Wiring(streams, stdin=stdin, tty=tty, once=True, keys=keys)


async def advise(invocation: Invocation, wanted: CreateRequest) -> None:
    """Tell what this host cannot do of what was asked for, and goes without. Raises: InvalidValue, Refused."""
    for line in await invocation.engine.advice(wanted.resources) if wanted.resources else ():
        await invocation.warn(f"WARNING: {safe(line)}")
    if line := networks.advice(wanted.networking):
        await invocation.warn(f"WARNING: {line}")


async def create(invocation: Invocation, wanted: CreateRequest) -> str:
    """Create the container, with its cidfile; returns its id."""
    path = invocation.options.text("cidfile")
    if path:
        await _reserve(invocation, path)
    try:
        try:
            id = await invocation.engine.create(wanted, invocation.who)
        except NotFound as error:
            await _fetched(invocation, wanted, error)
            id = await invocation.engine.create(wanted, invocation.who)
    except LadingError:
        if path:
            await invocation.call.unlink(path)
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


async def refresh(invocation: Invocation, wanted: CreateRequest) -> None:
    """Pull the image first, if that was asked for. Raises: NotFound, Refused, Unavailable, StorageError."""
    if wanted.pull == "always":
        await _pull(invocation, wanted)


async def _fetched(invocation: Invocation, wanted: CreateRequest, error: NotFound) -> None:
    """Pull the image that is missing. Raises: the error, when it is not for the want of one."""
    missing = type(error) is NotFound and error.message.startswith("No such image")
    if not missing or wanted.pull == "never" or wanted.image.startswith("sha256:"):
        raise error
    if not invocation.options.flag("quiet"):
        reference = invocation.engine.images.expand(wanted.image)
        suffix = f" for {wanted.platform}" if wanted.platform else ""
        await invocation.warn(f"Unable to find image '{safe(str(reference))}' locally{suffix}")
    await _pull(invocation, wanted)


async def _pull(invocation: Invocation, wanted: CreateRequest) -> None:
    reference = invocation.engine.images.expand(wanted.image)
    quiet = invocation.options.flag("quiet")
    await fetch(invocation, reference, platform=wanted.platform, to_stderr=True, quiet=quiet)


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
        flag("detach", "d", "Let it run in the background and print its id"),
        DETACH_KEYS,
        flag("sig-proxy", "", "Pass signals on to the container (never with -t)", default=True),
    ),
    notes=(
        "With -it you are at the container's terminal: ctrl-p ctrl-q leaves it running (lading attach brings you\n"
        "back), exit or ctrl-d ends the shell. With -i alone, what is piped in is the program's input."
    ),
    examples=(
        Example("lading run --rm -it alpine sh", "a shell; nothing is left when you exit"),
        Example("lading run -d --name web --restart on-failure:3 site httpd -f", "run in the background"),
        Example("tar c src | lading run --rm -i alpine tar t", "feed it through a pipe"),
    ),
)
