"""rm: remove one or more containers; their history and logs stay."""

from functools import partial

from domain.errors import NotFound
from domain.lifecycle import MACHINE
from domain.lifecycle.remove import Remove
from domain.options import flag
from domain.text.safe import safe
from workers.console.engine import Engine
from workers.console.errors import Plain, each, lines
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rm(invocation: Invocation) -> int:
    engine, force = invocation.engine, invocation.options.flag("force")
    volumes, dry = invocation.options.flag("volumes"), invocation.options.flag("dry-run")
    if invocation.options.flag("link"):
        if dry:
            raise Plain("--dry-run goes with containers, not with --link")
        return await each(invocation, partial(_forget, invocation))

    async def act(name: str, who: Caller) -> None:
        try:
            id = await engine.resolve(name)
            left = await _left(engine, id, volumes)
            if dry:
                MACHINE.decide(await engine.container(id), Remove(force=force, volumes=volumes))
            else:
                await engine.execute(id, Remove(force=force, volumes=volumes), who)
        except NotFound as error:
            if not force:
                raise
            return await invocation.warn(lines(error))
        await invocation.echo(name)
        if left:
            stay = "would stay" if dry else "stay"
            await invocation.warn(f"volumes {stay} behind that nobody else uses: {' '.join(map(safe, left))}\n"
                                  f"with their contents: lading volume rm {' '.join(map(safe, left))}")

    return await each(invocation, act)


async def _forget(invocation: Invocation, path: str, who: Caller) -> None:
    """`CONTAINER/NAME`: the container forgets the name that it has for another one."""
    container, _, name = path.removeprefix("/").rpartition("/")
    if not container:
        raise Plain(f"{path} names no link", hint="write it as CONTAINER/NAME")
    engine = invocation.engine
    await engine.unlink(await engine.resolve(container), name, who)
    await invocation.echo(path)


async def _left(engine: Engine, id: str, volumes: bool) -> list[str]:
    """Names of the volumes that nobody uses without this container, and that do not go with it."""
    if not (await engine.container(id)).settled.mounts:
        return []
    return [known.name for known in await engine.volumes.left_by(id) if not (volumes and known.anonymous)]


VERB = Verb(
    name="rm",
    usage="[OPTIONS] CONTAINER [CONTAINER...]",
    summary="Remove one or more containers",
    run=_rm,
    least=1,
    group="Common Commands",
    also=("container rm", "container remove"),
    options=(
        flag("dry-run", "", "Only say which ones would go, and which would not"),
        flag("force", "f", "Kill it first if it runs; a missing one is no failure"),
        flag("volumes", "v", "Remove its anonymous volumes too"),
        flag("link", "l", "Remove not a container but a link, given as CONTAINER/NAME"),
    ),
    notes="Volumes stay, but for anonymous ones with -v; what stays behind is told.\n"
    "A removed container can still be asked for: lading audit NAME, lading why NAME, lading logs NAME.",
    examples=(
        Example("lading rm web", "remove a stopped container"),
        Example("lading rm -f $(lading ps -aq)", "remove all, also those that run"),
    ),
)
