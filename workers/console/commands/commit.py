"""commit: make an image of what a container has changed."""

from domain.lifecycle.commit import Commit
from domain.options import flag, many, one
from domain.text.safe import safe
from workers.console.verb import Example, Invocation, Verb


async def _commit(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.engine
    name, reference = (*invocation.arguments, "")[:2]
    wish = Commit(
        reference=reference,
        author=options.text("author"),
        message=options.text("message"),
        changes=options.many("change"),
        pause=options.flag("pause"),
    )
    id = await engine.resolve(name)
    await invocation.say(await engine.commit(id, wish, invocation.who))
    spec = (await engine.container(id)).settled
    outside = [mount.target for mount in spec.mounts if mount.type != "tmpfs"]
    if outside:
        await invocation.warn(f"not in the image, for it is in volumes: what lies in {' '.join(map(safe, outside))}")
    return 0


VERB = Verb(
    name="commit",
    usage="[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    summary="Make an image of a container",
    run=_commit,
    least=1,
    most=2,
    also=("container commit",),
    options=(
        one("author", "a", "Author of the image", value="text"),
        many(
            "change", "c", "Change its configuration: CMD, ENTRYPOINT, ENV, LABEL, USER, WORKDIR …", value="instruction"
        ),
        one("message", "m", "A note for its history", value="text"),
        flag("pause", "p", "Pause the container meanwhile", default=True),
    ),
    notes="Volumes and file systems in memory are not a part of the image.",
    examples=(
        Example("lading commit web web:patched", "keep what was changed by hand"),
        Example('lading commit -c \'CMD ["httpd", "-f"]\' web site', "and give it a command"),
    ),
)
