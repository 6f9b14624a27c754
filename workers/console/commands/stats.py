"""stats: what containers use at the moment, once or again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.options import flag, one
from domain.text.units import human_size, memory_size
from workers.console.containers import Listed, listed
from workers.console.engine import Engine
from workers.console.listing import Field, Shape
from workers.console.streams import until_gone
from workers.console.verb import Example, Invocation, Verb
from workers.sampler import Figures, Sample

_CLEAR, _HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[2J", "\x1b[H", "\x1b[K", "\x1b[J"
_SPARE = ("NET I/O", "BLOCK I/O", "PIDS")


@dataclass(frozen=True, slots=True)
class _Row:
    """One container: `asked` is how it was named; without figures it does not run. `memory` is that of the host."""

    listed: Listed
    asked: str
    figures: Figures | None
    memory: int

    @property
    def cpu(self) -> str:
        """Percent of one processor."""
        return f"{self.figures.cpu if self.figures else 0:.2f}%"

    @property
    def memory_used(self) -> str:
        """Bytes in use, and how many it may have."""
        used, limit = self._memory()
        return f"{memory_size(used)} / {memory_size(limit)}"

    @property
    def memory_share(self) -> str:
        """The same as a share."""
        used, limit = self._memory()
        return f"{100 * used / limit if limit else 0:.2f}%"

    @property
    def traffic(self) -> str:
        """Received and sent."""
        usage = self.figures.usage if self.figures else None
        return f"{human_size(usage.received if usage else 0)} / {human_size(usage.sent if usage else 0)}"

    @property
    def blocks(self) -> str:
        """Read from and written to disks."""
        usage = self.figures.usage if self.figures else None
        return f"{human_size(usage.read if usage else 0)} / {human_size(usage.written if usage else 0)}"

    @property
    def processes(self) -> str:
        """Processes and threads."""
        return str(self.figures.usage.processes if self.figures else 0)

    def _memory(self) -> tuple[int, int]:
        if self.figures is None:
            return 0, 0
        limit = self.figures.usage.limit
        return self.figures.usage.memory, min(limit, self.memory) if limit else self.memory


def _shape(*, full: bool) -> Shape[_Row]:
    fields = {
        "Container": Field[_Row]("CONTAINER", lambda row: row.asked or (row.listed.id if full else row.listed.id[:12])),
        "ID": Field[_Row]("CONTAINER ID", lambda row: row.listed.id if full else row.listed.id[:12]),
        "Name": Field[_Row]("NAME", lambda row: row.listed.name),
        "CPUPerc": Field[_Row]("CPU %", lambda row: row.cpu),
        "MemUsage": Field[_Row]("MEM USAGE / LIMIT", lambda row: row.memory_used),
        "MemPerc": Field[_Row]("MEM %", lambda row: row.memory_share),
        "NetIO": Field[_Row]("NET I/O", lambda row: row.traffic),
        "BlockIO": Field[_Row]("BLOCK I/O", lambda row: row.blocks),
        "PIDs": Field[_Row]("PIDS", lambda row: row.processes),
    }
    table = tuple(field for name, field in fields.items() if name != "Container")
    return Shape(fields, table, spare=_SPARE)


async def _stats(invocation: Invocation) -> int:
    engine, options = invocation.engine, invocation.options
    asked = {await engine.resolve(name): name for name in invocation.arguments}
    shape = _shape(full=options.flag("no-trunc"))
    for id in asked:
        invocation.reading.about("container", id)
    invocation.reading.answered()
    await until_gone(invocation.call, _show(invocation, shape, asked))
    return 0


async def _show(invocation: Invocation, shape: Shape[_Row], asked: dict[str, str]) -> None:
    options, engine = invocation.options, invocation.engine
    once = options.flag("no-stream")
    painting = _Painting(invocation) if not once and invocation.call.terminal.stdout_tty else None
    memory = engine.files.sampler.meter.memory()
    async for sample in engine.files.sampler.samples():
        rows = await _rows(engine, asked, sample, memory, all=options.flag("all"))
        if asked and not rows:
            return  # those that were asked for are all removed
        text = shape.render(rows, options.text("format"), columns=invocation.columns)
        await invocation.out(text if painting is None else painting.painted(text))
        if once:
            return


async def _rows(
    engine: Engine, asked: dict[str, str], sample: Sample, memory: int, *, all: bool
) -> Sequence[_Row]:
    """Those that were named, or those that live; what has begun since the look before comes with the next one."""
    if asked:
        found = [await engine.views.get("containers", id) for id in asked]
        containers = [listed(row) for row in found if row is not None]
    else:
        where: dict[str, object] | None = None if all else {"active": 1}
        kept = await engine.views.select("containers", where=where, order="created_at", descending=True)
        containers = [listed(row) for row in kept]
    rows = [_Row(container, asked.get(container.id, ""), sample.get(container.id), memory) for container in containers]
    return rows if asked or all else [row for row in rows if row.figures is not None]


class _Painting:
    """The same screen again and again: over what is there, so that nothing flickers."""

    def __init__(self, invocation: Invocation) -> None:
        self._rows = invocation.call.terminal.rows
        self._begun = False

    def painted(self, text: str) -> str:
        """What brings the terminal from the last text to this one; what does not fit on it is left out."""
        lines = text.splitlines()
        lines = lines[: self._rows - 1] if self._rows > 1 else lines
        begin, self._begun = ("" if self._begun else _CLEAR) + _HOME, True
        return begin + "".join(f"{line}{_REST_OF_LINE}\n" for line in lines) + _REST_OF_SCREEN


VERB = Verb(
    name="stats",
    usage="[OPTIONS] [CONTAINER...]",
    summary="Show what containers use: processors, memory, networks, disks",
    run=_stats,
    also=("container stats",),
    options=(
        flag("all", "a", "Show all containers, not only those that run"),
        one("format", "", "table, json, or a template like '{{.Name}}: {{.CPUPerc}}'"),
        flag("no-stream", "", "Show it once and end"),
        flag("no-trunc", "", "Do not shorten ids"),
    ),
    notes="""\
CPU % counts processors: 200% are two that are busy all the time. Memory is told without the part of the page cache that
the kernel gives back first; a container without a limit may have all of the host's.""",
    reads="stats",
    examples=(
        Example("lading stats", "all that run, again every second"),
        Example("lading stats --no-stream --format json web", "once, for a program"),
    ),
)
