"""pull: bring an image from its registry."""

from domain.errors import InvalidValue
from domain.images.manifest import parse_platform
from domain.images.progress import Progress
from domain.images.reference import Reference
from domain.options import flag, one
from domain.text.safe import safe
from workers.console.errors import Plain
from workers.console.keyring import keyring
from workers.console.transfers import shown
from workers.console.verb import Example, Invocation, Verb


async def fetch(
    invocation: Invocation, reference: Reference, *, platform: str = "", to_stderr: bool = False, quiet: bool = False
) -> None:
    """Pull one reference, and tell what came of it; only the last line of it when it is to be `quiet`.

    Raises: NotFound, Refused, Unavailable, StorageError.
    """
    engine, progress = invocation.engine, Progress()
    wanted = parse_platform(platform) if platform else None
    keys = await keyring(invocation.call).all(engine.images.hosts(reference), reference.path)

    async def say(text: str) -> None:
        if not quiet:
            await (invocation.warn if to_stderr else invocation.say)(text)

    await say(f"{reference.tag or safe(reference.digest)}: Pulling from {reference.path}")
    arrived = await shown(
        invocation,
        engine.images.pull(reference, invocation.who, keys, progress, wanted),
        progress,
        to_stderr=to_stderr,
        quiet=quiet,
    )
    await say(f"Digest: {arrived.digest}")
    status = "Downloaded newer image for" if arrived.is_news else "Image is up to date for"
    await say(f"Status: {status} {reference}")


async def _pull(invocation: Invocation) -> int:
    options, (name,) = invocation.options, invocation.arguments
    quiet, everything = options.flag("quiet"), options.flag("all-tags")
    reference = _reference(invocation, name, everything=everything)
    if everything:
        return await _all(invocation, reference, quiet=quiet)
    if not quiet and reference.tag and not _has_tag(name):
        await invocation.say(f"Using default tag: {reference.tag}")
    await fetch(invocation, reference, platform=options.text("platform"), quiet=quiet)
    await invocation.say(reference.full)
    return 0


async def _all(invocation: Invocation, reference: Reference, *, quiet: bool) -> int:
    images = invocation.engine.images
    keys = await keyring(invocation.call).all(images.hosts(reference), reference.path)
    for tag in sorted(await images.remote_tags(reference, keys)):
        tagged = images.expand(f"{reference.host}/{reference.path}:{tag}")
        await fetch(invocation, tagged, platform=invocation.options.text("platform"), quiet=quiet)
    await invocation.say(reference.full)
    return 0


def _reference(invocation: Invocation, name: str, *, everything: bool) -> Reference:
    try:
        reference = invocation.engine.images.expand(name, default_tag=not everything)
        if invocation.options.text("platform"):
            parse_platform(invocation.options.text("platform"))
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint) from error
    if everything and (reference.tag or reference.digest):
        raise Plain("tag can't be used with --all-tags/-a")
    return reference


def _has_tag(name: str) -> bool:
    return ":" in name.rpartition("/")[2]


VERB = Verb(
    name="pull",
    usage="[OPTIONS] NAME[:TAG|@DIGEST]",
    summary="Get an image from a registry",
    run=_pull,
    least=1,
    most=1,
    group="Common Commands",
    also=("image pull",),
    options=(
        flag("all-tags", "a", "All tags of the repository"),
        one("platform", "", "Another platform than this machine's: OS/ARCHITECTURE[/VARIANT]", value="platform"),
        flag("quiet", "q", "Only the name of what was pulled"),
    ),
    notes="""\
What has come before ^C or a crash is kept for a day: the next pull goes on there. Layers that are here are not asked
for again, and two pulls of one layer share the work. Credentials are those of docker and podman on your side.""",
    examples=(
        Example("lading pull alpine", "the tag latest, from the default registry"),
        Example("lading pull -q localhost:5000/web:1.2", "from another one, without a word"),
    ),
)
