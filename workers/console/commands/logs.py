"""logs: what a container has written, byte for byte, on the stream it was written to; also after it was removed."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from domain.options import flag, one, refused
from domain.ports import LogFrame
from domain.text.times import rfc3339_fixed
from workers.console.moments import moment, time_of
from workers.console.past import resolve_past
from workers.console.streams import STDOUT, until_gone
from workers.console.verb import Example, Invocation, Verb


async def _logs(invocation: Invocation) -> int:
    await until_gone(invocation.call, _show(invocation))
    return 0


async def _show(invocation: Invocation) -> None:
    options, engine = invocation.options, invocation.engine
    since, until = await _bound(invocation, "since"), await _bound(invocation, "until")
    tail = _tail(options.one("tail"))
    id = await resolve_past(engine, invocation.arguments[0])
    if options.flag("follow"):
        frames = engine.follow(id, since=since, until=until, tail=tail)
    else:
        frames = engine.logs.frames(id, since=since, until=until, tail=tail)
    stamp = _Stamps() if options.flag("timestamps") else None
    async for stream, data in _written(frames, stamp):
        await (invocation.call.out if stream == STDOUT else invocation.call.err)(data)


async def _written(frames: AsyncIterator[LogFrame], stamps: "_Stamps | None") -> AsyncIterator[tuple[int, bytes]]:
    async for frame in frames:
        yield frame.stream, frame.data if stamps is None else stamps.stamped(frame)


async def _bound(invocation: Invocation, name: str) -> int | None:
    text = invocation.options.one(name)
    if text is None:
        return None
    return await time_of(invocation.engine, moment(name, text, invocation.now()))


def _tail(text: str | None) -> int | None:
    """The number of lines; all of them for what is no number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass
class _Stamps:
    """Puts the time in front of every line; knows for each stream whether its last line is still open."""

    open: dict[int, bool] = field(default_factory=dict)

    def stamped(self, frame: LogFrame) -> bytes:
        """The frame with a time wherever a line begins."""
        prefix = rfc3339_fixed(frame.time).encode() + b" "
        body, ends = frame.data, frame.data.endswith(b"\n")
        lines = (body[:-1] if ends else body).replace(b"\n", b"\n" + prefix) + (b"\n" if ends else b"")
        first = b"" if self.open.get(frame.stream) else prefix
        self.open[frame.stream] = not ends
        return first + lines


VERB = Verb(
    name="logs",
    usage="[OPTIONS] CONTAINER",
    summary="Show what a container has written",
    run=_logs,
    least=1,
    most=1,
    group="Common Commands",
    also=("container logs",),
    options=(
        flag("follow", "f", "Go on with what is written from now on, until the container ends"),
        one(
            "since", "", "Only what was written after a moment: 10m, a time, or the number of an event", value="moment"
        ),
        one("tail", "n", "Only the last lines", value="lines", default="all"),
        flag("timestamps", "t", "Put the time in front of every line"),
        one("until", "", "Only what was written before a moment", value="moment"),
        *refused("--details"),
    ),
    examples=(
        Example("lading logs -f --tail 20 web", "the last lines, and what comes"),
        Example("lading logs --since 'yesterday 14:00' web", "works for removed containers too"),
    ),
)
