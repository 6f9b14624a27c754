"""logs: what a container has written, byte for byte, on the stream it was written to; also after it was removed."""

from dataclasses import dataclass, field

from domain.container import Container, State
from domain.errors import Refused
from domain.options import flag, one
from domain.ports.logs import LogFrame
from domain.text.safe import safe
from domain.text.times import rfc3339_fixed
from domain.text.units import human_size
from workers.console.moments import moment, time_of
from workers.console.past import resolve_past
from workers.console.streams import STDOUT, until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.streams import STALLED


async def _logs(invocation: Invocation) -> int:
    await until_gone(invocation.call, _show(invocation))
    return 0


async def _show(invocation: Invocation) -> None:
    options, engine, call = invocation.options, invocation.engine, invocation.call
    since, until = await _bound(invocation, "since"), await _bound(invocation, "until")
    tail = _tail(options.one("tail"))
    container = await engine.container(await resolve_past(engine, invocation.arguments[0]))
    invocation.reading.about("container", container.id)
    await _introduce(invocation, container)
    invocation.reading.answered()
    if options.flag("follow"):
        frames = engine.follow(container.id, since=since, until=until, tail=tail, restarts=True, hold=STALLED)
    else:
        frames = engine.stored(container.id, since=since, until=until, tail=tail)
    prefixes = Prefixes(times=options.flag("timestamps"), details=options.flag("details"))
    async for frame in frames:
        if frame.missed:
            await invocation.warn(_missed(frame.missed))
        await (call.out if frame.stream == STDOUT else call.err)(prefixes.prefixed(frame))


async def _introduce(invocation: Invocation, container: Container) -> None:
    """What is to be known before the output. Raises: Refused when there cannot be any."""
    if container.settled.log.driver == "none":
        raise Refused("configured logging driver does not support reading",
                      hint="the container was made with --log-driver none: its output is not kept")
    if container.state is State.REMOVED:
        await invocation.warn(f"container {safe(container.name)} ({container.id[:12]}) is removed; its output is kept "
                              "for a while")


def _missed(amount: int) -> str:
    return f"{human_size(amount)} of output before this is not kept any more (see --log-opt max-size and max-file)"


async def _bound(invocation: Invocation, name: str) -> int | None:
    text = invocation.options.one(name)
    if text is None:
        return None
    return await time_of(invocation.engine, moment(name, text, invocation.now()))


def _tail(text: str | None) -> int | None:
    """The number of lines; all of them for what is no number."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


@dataclass
class Prefixes:
    """Puts the time (and the details, of which there are none) in front of every line; knows for each stream whether
    its last line is still open."""

    times: bool
    details: bool
    open: dict[int, bool] = field(default_factory=dict)

    def prefixed(self, frame: LogFrame) -> bytes:
        """The frame with what was asked for wherever a line begins."""
        if not frame.data or not (self.times or self.details):
            return frame.data
        prefix = (rfc3339_fixed(frame.time).encode() + b" " if self.times else b"") + (b" " if self.details else b"")
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
        flag("details", "", "Put the details of the log driver in front of every line"),
        flag("follow", "f", "Go on with what is written from now on, until the container ends and is not restarted"),
        one(
            "since", "", "Only what was written after a moment: 10m, a time, or the number of an event", value="moment"
        ),
        one("tail", "n", "Only the last lines", value="lines", default="all"),
        flag("timestamps", "t", "Put the time in front of every line"),
        one("until", "", "Only what was written before a moment", value="moment"),
    ),
    reads="logs",
    examples=(
        Example("lading logs -f --tail 20 web", "the last lines, and what comes"),
        Example("lading logs --since 'yesterday 14:00' web", "works for removed containers too"),
    ),
    notes="How much is kept is said with run --log-opt max-size=20m --log-opt max-file=5, which is the default.",
)
