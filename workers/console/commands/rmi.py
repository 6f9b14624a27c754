"""rmi: remove names of images, and the images that nothing names any more."""

from domain.errors import NotFound
from domain.options import flag, refused
from domain.text.safe import safe
from workers.console.errors import each, lines
from workers.console.verb import Example, Invocation, Verb
from workers.mover import Caller


async def _rmi(invocation: Invocation) -> int:
    options = invocation.options

    async def act(name: str, who: Caller) -> None:
        try:
            done = await invocation.engine.images.remove(
                name, who, force=options.flag("force"), prune=not options.flag("no-prune")
            )
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
        flag("force", "f", "Also when a stopped container uses it or it has several names"),
        flag("no-prune", "", "Keep parents that nothing names"),
        *refused("--platform="),
    ),
    examples=(
        Example("lading rmi web:1.1", "drop one name; the last one takes the image with it"),
        Example("lading rmi -f 4f1c2a", "drop the image with all its names"),
    ),
)
