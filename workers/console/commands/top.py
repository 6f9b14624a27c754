"""top: the processes of a running container, with their pids on the host."""

import asyncio

from domain.container import LIVE
from domain.errors import Refused
from domain.text.safe import safe
from domain.text.table import render
from workers.console import processes
from workers.console.verb import Example, Invocation, Verb

_WIDTH = 20


async def _top(invocation: Invocation) -> int:
    name, *options = invocation.arguments
    columns = processes.columns(options)
    id = await invocation.engine.resolve(name)
    invocation.reading.about("container", id)
    if (await invocation.engine.container(id)).state not in LIVE:
        raise Refused(f"container {id} is not running")
    pids = await invocation.engine.processes(id)
    found = await asyncio.to_thread(processes.read, pids)
    rows = [[safe(column.text(process)) for column in columns] for process in found]
    await invocation.out(render([[column.title for column in columns], *rows], minimum=_WIDTH))
    return 0


VERB = Verb(
    name="top",
    usage="CONTAINER [ps OPTIONS]",
    summary="Show the processes of a container",
    run=_top,
    least=1,
    interspersed=False,
    also=("container top",),
    reads="top",
    examples=(
        Example("lading top web", "as ps -ef shows them"),
        Example("lading top web -eo pid,rss,args", "other columns"),
    ),
)
