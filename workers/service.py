"""What a daemon does once it has the data root: what it starts and stops, in which order.

    log (migrated, checked) ─┬→ bus → supervisor → compare log and kernel → programs → socket
                             └ a log that cannot be written to: answers questions, takes no wishes

The socket comes last: who can connect is answered. TERM and INT end the daemon in good order; containers go on, and so
do they when it is killed.
"""

import asyncio
import gc
import logging
import os
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from domain.errors import LadingError
from workers.composition import SMALL, Whole, assemble, open_plant, prepare, versions
from workers.faults import arm_faults
from workers.folders import STATE
from workers.retention import Retention
from workers.settings import Settings

log = logging.getLogger(__name__)
LOG_LIMIT = 8 << 20
"""Bytes of the daemon's own log after which it begins anew; one older file is kept."""
_TURN = 0.001
"""Seconds that a thread may compute while others wait. The loop waits after every call of the kernel: with 5 ms, as is
usual, a context that is read by a thread while it comes took twice as long."""


def serve(settings: Settings, *, anew: bool = False) -> None:
    """Until told to end; `anew`: the tables are made again from the log first. Raises: LadingError, OSError."""
    prepare(settings)
    _log_to(settings)
    arm_faults(_own(settings.failpoints))
    sys.setswitchinterval(_TURN)
    asyncio.run(_run(settings, anew))


def _own(failpoints: str) -> str:
    """Those that are not armed in the small processes."""
    return ";".join(part for part in failpoints.split(";") if not part.strip().startswith(SMALL))


def _log_to(settings: Settings) -> None:
    path = settings.data_root / STATE / "daemon.log"
    if path.exists() and path.stat().st_size > LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    logging.basicConfig(
        filename=path, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )


async def _run(settings: Settings, anew: bool) -> None:
    async with AsyncExitStack() as stack:
        ended = _signals()
        whole = await _open(settings, stack, anew)
        log.info("ready on %s", settings.socket)
        _let_go_of_the_starter(settings)
        keep_what_is_there()
        reason = await _end(ended, whole.core.broken)
        log.info("ending: %s", reason)
        await whole.engine.accesses.end()
        await whole.core.end(reason)
        if whole.core.broken.is_set():
            raise LadingError("a part of the daemon has failed", hint=f"see {settings.data_root}/{STATE}/daemon.log")


def keep_what_is_there() -> None:
    """Code and tables stay for as long as the daemon does. A collection that looked at them, too, would keep everybody
    waiting for 30 ms and more."""
    gc.freeze()
    gc.enable()


async def _end(ended: "asyncio.Future[str]", broken: asyncio.Event) -> str:
    """Why to end. A daemon of which a part is missing ends, too: the next one finds everything in the log."""
    breaking = asyncio.ensure_future(broken.wait())
    either: set[asyncio.Future[Any]] = {ended, breaking}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    breaking.cancel()
    return ended.result() if ended.done() else "a part has failed"


def _let_go_of_the_starter(settings: Settings) -> None:
    """A client that started us reads from a pipe why we failed. It goes away now, and writing there would kill us."""
    if stat.S_ISFIFO(os.fstat(2).st_mode):
        fd = os.open(settings.data_root / STATE / "daemon.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC)
        os.dup2(fd, 2)
        os.close(fd)


async def _open(settings: Settings, stack: AsyncExitStack, anew: bool) -> Whole:
    plant = open_plant(settings, anew=anew)
    opening = (_opened(stack, plant.store), _started(stack, plant.server))
    await _together(*opening)
    await plant.bus.connect()
    stack.push_async_callback(plant.bus.close)
    await stack.enter_async_context(plant.runtime)
    stack.callback(plant.registries.close)
    stack.callback(plant.contents.close)
    stack.push_async_callback(plant.network.close)
    whole = assemble(settings, plant, await plant.store.head())
    if plant.store.failure is not None:
        log.critical("the log takes no events: %s", plant.store.failure)
        whole.info.health["Warning"] = str(plant.store.failure)
    else:
        plant.bus.on_reconnect(whole.relay.tell_again)
        plant.runtime.on_lost(whole.core.compare_again)
        found = await whole.core.begin(dict(versions()))
        log.info("log and kernel agree: %s", found)
        await whole.engine.builder.recover()
        if damaged := found.get("damaged"):
            whole.info.health["Warning"] = f"{damaged} containers have a damaged story: see lading audit verify"
        retention = asyncio.create_task(Retention(settings, plant.store.views, whole.engine.images.images.sweep).run())
        stack.callback(retention.cancel)
    await whole.programs.begin()
    await whole.console.serve(plant.bus)
    plant.bus.on_disconnect(whole.console.bus_lost)
    plant.bus.on_reconnect(whole.console.bus_back)
    stack.push_async_callback(whole.console.close)
    await plant.control.start()
    stack.push_async_callback(plant.control.close)
    stack.push_async_callback(plant.gateway.stop)
    if settings.gateway:
        await _open_gateway(whole)
    return whole


async def _open_gateway(whole: Whole) -> None:
    """The engine is of use without it, too: what is wrong with it is told where people look."""
    try:
        await whole.engine.gateway.start("")
    except LadingError as error:
        log.error("%s", error)
        whole.info.health["Warning"] = str(error)


async def _together(*works: Any) -> None:
    """Wait for all, then raise the first error: nothing is left half started behind our back."""
    for result in await asyncio.gather(*works, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


async def _opened(stack: AsyncExitStack, store: Any) -> None:
    await store.open()
    stack.push_async_callback(store.close)


async def _started(stack: AsyncExitStack, part: Any) -> None:
    await part.start()
    stack.push_async_callback(part.stop)


def _signals() -> "asyncio.Future[str]":
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[str] = loop.create_future()

    def end(name: str) -> Callable[[], None]:
        return lambda: None if ended.done() else ended.set_result(name)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end(number.name))
    return ended
