"""gateway status: is the Docker Engine API served, and where?"""

from domain.text.safe import safe
from workers.console.verb import Example, Invocation, Verb

_NOT_SERVED = 3
"""As service managers report what is not running."""


async def _status(invocation: Invocation) -> int:
    gateway = invocation.engine.gateway
    if not gateway.path:
        await invocation.say("the gateway is stopped")
        return _NOT_SERVED
    process = f"process {gateway.pid}" if gateway.pid else "being started"
    await invocation.say(f"the gateway listens at {safe(gateway.path)} ({process})")
    return 0


VERB = Verb(
    name="gateway status",
    usage="",
    summary="Show whether the Docker Engine API is served",
    run=_status,
    most=0,
    notes="The exit status is 3 if it is not.",
    examples=(
        Example("lading gateway status", "where it listens"),
        Example("lading gateway status || lading gateway start", "only if it is not served yet"),
    ),
)
