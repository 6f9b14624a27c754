"""`--platform` of the verbs about images: what it means, and whether what is here is for it.

A name leads to one image, for one platform. So where others choose among several, here the option makes sure.
"""

from domain.errors import InvalidValue
from domain.images.manifest import Platform, parse_platform
from domain.options import Parsed, one
from workers.console.errors import Plain
from workers.console.verb import Invocation

SURE = one("platform", "", "Only if it is for this one: OS/ARCHITECTURE[/VARIANT]", value="platform")


def platform(options: Parsed, *, status: int = 1) -> Platform | None:
    """What was typed. Raises: Plain, with that status, for what is no platform."""
    text = options.text("platform")
    try:
        return parse_platform(text) if text else None
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint, status=status) from error


async def ensure(invocation: Invocation, *names: str) -> None:
    """Returns when all of these (with a repository, all its tags) are here for the platform that was asked for, if any
    was. Raises: NotFound, Ambiguous, Plain."""
    wanted, images = platform(invocation.options), invocation.engine.images
    if wanted is None:
        return
    for name in names:
        tags = await images.local_tags(name)
        for one_name in [f"{name}:{tag}" for tag in tags] or [name]:
            await images.require(one_name, wanted)
