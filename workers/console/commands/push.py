"""push: bring an image to its registry."""

from domain.errors import InvalidValue, NotFound
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.options import flag
from domain.text.safe import safe
from workers.console.errors import Plain
from workers.console.keyring import keyring
from workers.console.platforms import SURE, ensure
from workers.console.transfers import shown
from workers.console.verb import Example, Invocation, Verb


async def _push(invocation: Invocation) -> int:
    options, images, (name,) = invocation.options, invocation.engine.images, invocation.arguments
    reference = _reference(invocation, name)
    tags: list[str] = [reference.tag]
    if options.flag("all-tags"):
        tags = sorted(await images.local_tags(reference.repository))
        if not tags:
            raise NotFound(f"An image does not exist locally with the tag: {reference.repository}")
    if not options.flag("quiet"):
        if not options.flag("all-tags") and ":" not in name.rpartition("/")[2]:
            await invocation.say(f"Using default tag: {reference.tag}")
        await invocation.say(f"The push refers to repository [{reference.host}/{reference.path}]")
    for tag in tags:
        await _one(invocation, images.expand(f"{reference.host}/{reference.path}:{tag}"))
    return 0


async def _one(invocation: Invocation, reference: Reference) -> None:
    await ensure(invocation, reference.key)
    quiet, progress = invocation.options.flag("quiet"), Progress()
    credentials = await keyring(invocation.call).find(reference.host, reference.path)
    sent = await shown(
        invocation,
        invocation.engine.images.push(reference, invocation.who, credentials, progress),
        progress,
        pushing=True,
        quiet=quiet,
    )
    if quiet:
        await invocation.say(safe(reference.full))
    else:
        await invocation.say(f"{reference.tag}: digest: {sent.digest} size: {sent.size}")


def _reference(invocation: Invocation, name: str) -> Reference:
    try:
        reference = invocation.engine.images.expand(name)
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint) from error
    if reference.digest:
        raise Plain("cannot push a digest reference", hint="give the image a tag: lading tag IMAGE NAME:TAG")
    if invocation.options.flag("all-tags") and ":" in name.rpartition("/")[2]:
        raise Plain("tag can't be used with --all-tags/-a")
    return reference


VERB = Verb(
    name="push",
    usage="[OPTIONS] NAME[:TAG]",
    summary="Bring an image to a registry",
    run=_push,
    least=1,
    most=1,
    group="Common Commands",
    also=("image push",),
    options=(
        flag("all-tags", "a", "All tags of the repository that are here"),
        flag("quiet", "q", "Only the name of what was pushed"),
        SURE,
    ),
    notes="""\
An image that was pulled goes with its own manifest, so its digest stays the same. What the registry has is not sent
again, and what another of its repositories has is mounted from there.""",
    examples=(
        Example("lading push localhost:5000/web:1.2", "name it first: lading tag web localhost:5000/web:1.2"),
        Example("lading push -a localhost:5000/web", "all its tags"),
    ),
)
