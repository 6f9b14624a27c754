"""gateway stop: no longer serve the Docker Engine API."""

from workers.console.verb import Example, Invocation, Verb


async def _stop(invocation: Invocation) -> int:
    await invocation.engine.gateway.stop()
    return 0


VERB = Verb(
    name="gateway stop",
    usage="",
    summary="Serve the Docker Engine API no longer",
    run=_stop,
    most=0,
    notes="Requests that are being answered break off; containers do not notice.",
    examples=(
        Example("lading gateway stop", "clients are told that nobody listens"),
        Example("lading gateway stop && lading gateway start", "a new process"),
    ),
)
