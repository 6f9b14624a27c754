"""why: one sentence that says why a container ended or is as it is, and what that rests on."""

from domain.audit import title
from domain.errors import LadingError
from domain.reasons import Asker, Reason, reason
from domain.text.safe import safe
from domain.text.times import local
from domain.text.units import exact_duration
from workers.console.past import resolve_past
from workers.console.verb import Example, Invocation, Verb

_LINES = 5
_WIDEST = 200


async def _why(invocation: Invocation) -> int:
    engine = invocation.engine
    id = await resolve_past(engine, invocation.arguments[0])
    answer = reason(await engine.history(id))
    lines = [f"{safe(answer.sentence)} ({answer.grade})", *_asked(answer), *_signal(answer)]
    if answer.looked_at:
        lines.append(f"Looked at: {answer.looked_at}")
    lines += await _last_lines(invocation, id)
    lines += _chain(answer)
    if answer.suggestion:
        lines.append(f"Try: {safe(answer.suggestion)}")
    await invocation.out("\n".join(lines) + "\n")
    return 0


def _asked(answer: Reason) -> list[str]:
    if answer.asker is None:
        return ["Asked by: nobody"]
    asker = answer.asker
    return [f"Asked by: {_who(asker)}, {local(asker.time)}, event {asker.position}"]


def _who(asker: Asker) -> str:
    actor = asker.actor
    if actor.via == "engine" and not actor.user:
        return "the engine itself"
    name = actor.user or f"uid {actor.uid}"
    proof = f" (uid {actor.uid}, pid {actor.pid})" if actor.uid >= 0 else f" (via {actor.via})"
    host = f" on {actor.host}" if actor.host else ""
    command = f": {actor.command}" if actor.command else ""
    return safe(f"{name}{proof}{host}{command}")


def _signal(answer: Reason) -> list[str]:
    return [f"Signal: {answer.signal}, sent by {safe(answer.sender)}"] if answer.signal else []


async def _last_lines(invocation: Invocation, id: str) -> list[str]:
    content = b""
    try:
        async for frame in invocation.engine.logs.frames(id, tail=_LINES):
            content += frame.data
    except LadingError as error:
        return [f"Last lines: not readable, {safe(error.message)}"]
    lines = content.decode("utf-8", "surrogateescape").removesuffix("\n").split("\n")[-_LINES:]
    if not content:
        return ["Last lines: it has written nothing"]
    return ["Last lines:", *(f"  {safe(line[:_WIDEST])}" for line in lines)]


def _chain(answer: Reason) -> list[str]:
    rows = [
        f"  {step.record.position:>8}  {local(step.record.time)}  {title(step.record.event):<20}"
        f"{'' if not step.took else '+' + exact_duration(step.took)}".rstrip()
        for step in answer.chain
    ]
    return ["Steps:", *rows] if rows else []


VERB = Verb(
    name="why",
    usage="CONTAINER",
    summary="Say why a container ended or is as it is",
    run=_why,
    least=1,
    most=1,
    notes="The word in parentheses says how sure the answer is: known, likely or unknown.",
    examples=(
        Example("lading why web", "the reason, who asked, the last lines, and each step"),
        Example("lading ps -a --filter status=exited", "find what has ended"),
    ),
)
