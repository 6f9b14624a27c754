"""rmi: remove names of images, and the images that nothing names any more."""

from domain.errors import NotFound
from domain.options import flag
from domain.text.safe import safe
from workers.console.errors import each, lines
from workers.console.platforms import SURE, ensure
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rmi(invocation: Invocation) -> int:
    options = invocation.options

    async def act(name: str, who: Caller) -> None:
        images, force, prune = invocation.engine.images, options.flag("force"), not options.flag("no-prune")
        try:
            await ensure(invocation, name)
            if options.flag("dry-run"):
                done = await images.would_remove(name, force=force, prune=prune)
            else:
                done = await images.remove(name, who, force=force, prune=prune)
        except NotFound as error:
            if not options.flag("force"):
                raise
            return await invocation.warn(lines(error))
        for line in done:
            await invocation.say(safe(line))

    return await each(invocation, act)


VERB = Verb(
    name="rmi",
    usage="[OPTIONS] IMAGE [IMAGE...]",
    summary="Remove one or more images",
    run=_rmi,
    least=1,
    also=("image rm", "image remove"),
    options=(
        flag("dry-run", "", "Only say what would be done"),
        flag("force", "f", "Also when a stopped container uses it or it has several names"),
        flag("no-prune", "", "Keep parents that nothing names"),
        SURE,
    ),
    examples=(
        Example("lading rmi web:1.1", "drop one name; the last one takes the image with it"),
        Example("lading rmi -f 4f1c2a", "drop the image with all its names"),
    ),
)
