"""tag: give an image another name; the name moves if another image had it."""

from workers.console.verb import Example, Invocation, Verb


async def _tag(invocation: Invocation) -> int:
    source, target = invocation.arguments
    await invocation.engine.images.tag(source, target, invocation.who)
    return 0


VERB = Verb(
    name="tag",
    usage="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    summary="Give an image another name",
    run=_tag,
    least=2,
    most=2,
    also=("image tag",),
    examples=(
        Example("lading tag 4f1c2a web:1.2", "name an image by its id"),
        Example("lading tag web:1.2 web", "let web:latest point to it"),
    ),
)
