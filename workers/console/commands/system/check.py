"""system check: is everything that the log speaks of on the disk, byte by byte?"""

from domain.text.safe import safe
from workers.console.verb import Example, Invocation, Verb


async def _check(invocation: Invocation) -> int:
    images = invocation.engine.images
    findings = await images.check()
    for finding in findings:
        await invocation.say(safe(finding))
    count = len(await images.all())
    told = f"{count} image{'' if count == 1 else 's'} checked"
    if findings:
        await invocation.warn(f"{told}: the store is damaged, see above; pull or load what is concerned again")
        return 1
    await invocation.say(f"{told}: the store is whole")
    return 0


VERB = Verb(
    name="system check",
    usage="",
    summary="Check the contents of all images",
    run=_check,
    most=0,
    notes="""\
Every blob is hashed again, and every layer compared with what its record counts. The log has a check of its own:
lading audit verify.""",
    examples=(
        Example("lading system check", "status 1 and a line for each fault if something is missing or damaged"),
        Example("lading system check && lading audit verify", "contents and history"),
    ),
)
