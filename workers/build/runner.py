"""A step's command as a container of ours: created, started, watched, and taken away when its changes are kept."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from os import uname

from adapters.system import facts
from domain.container import LIVE, State
from domain.errors import CommandFailed, KernelError, LadingError
from domain.images.model import Image
from domain.lifecycle.create import Create
from domain.lifecycle.remove import Remove
from domain.lifecycle.start import Start, StartFailed
from domain.names import container_name
from domain.network.asked import NetworkingWish
from domain.ports.bus import Clock
from domain.ports.runtime import Runtime
from domain.resources import Resources
from workers.blueprint import Joined, blueprint
from workers.mover import Caller, Mover
from workers.requests import CreateRequest
from workers.streams import PATIENT, Begin, Streams, Window

LABEL = "lading.build"
"""Every container of a build carries it, with the build's id: what a crash has left of that build is found by it."""
Output = Callable[[int, bytes], Awaitable[None]]
_COMING = frozenset({State.STARTING, State.RESTARTING})
_GONE = frozenset({State.REMOVED, State.DEAD})


@dataclass(frozen=True, slots=True)
class Runner:
    """`advice` refuses limits that this host does not know, `join` looks up what a step asks of networks."""

    mover: Mover
    streams: Streams
    runtime: Runtime
    clock: Clock
    advice: Callable[[Resources], Awaitable[Sequence[str]]]
    join: Callable[[NetworkingWish], Awaitable[Joined]]
    userns: str = "host"

    async def start(self, wish: CreateRequest, image: Image, who: Caller) -> str:
        """The id of the container, once its command was executed. `image` need not be known to anybody.

        Raises: CommandFailed (126, 127), KernelError, Refused. Then nothing is left of it.
        """
        id = self.clock.new_id()
        bare = Image(id=image.id, layers=image.layers)
        spec, env = blueprint(
            wish, bare, id, networks=await self.join(wish.asked_networking), machine=uname().nodename,
            apparmor=facts.apparmor(), userns=self.userns,
        )
        await self.advice(spec.limits)
        await self.runtime.check(spec)
        create = Create(name=container_name(wish.name), spec=spec, env=env)
        begun = asyncio.ensure_future(self._begun(id, create, who))
        try:
            return await asyncio.shield(begun)
        except asyncio.CancelledError:
            await asyncio.shield(self._called_off(begun, id, who))
            raise

    async def _begun(self, id: str, create: Create, who: Caller) -> str:
        async with self.streams.expecting(id):
            moved = await self.mover.accept(id, (create, Start()), who)
            await self.mover.until(id, lambda c: not moved.intents & set(c.open))
        for event in self.mover.outcomes(moved.intents) or ():
            if isinstance(event, StartFailed):
                await self.remove(id, who)
                if event.exit_code in (126, 127):
                    raise CommandFailed(event.reason, exit_code=event.exit_code)
                raise KernelError(event.reason)
        return id

    async def _called_off(self, begun: "asyncio.Future[str]", id: str, who: Caller) -> None:
        """A start cannot be called off half way: it is waited for, and what it has made is taken away."""
        await asyncio.wait((begun,))
        if begun.exception() is None:
            await self.remove(id, who)
            await self.gone((id,))

    async def finish(self, id: str, output: Output) -> int:
        """Pass on what it writes until it ends; its exit status."""
        async for frame in self.streams.follow(id, Window(begin=Begin.EXPECTED), hold=PATIENT):
            if frame.data:
                await output(frame.stream, frame.data)
        container = await self.mover.until(
            id, lambda c: c.state not in LIVE and c.state not in _COMING and not c.pid
        )
        assert container is not None
        return container.exit_code

    async def remove(self, id: str, who: Caller) -> None:
        """Ask for it to be taken away, whatever it does."""
        with suppress(LadingError):
            await self.mover.accept(id, (Remove(force=True),), who)

    async def gone(self, ids: Sequence[str]) -> None:
        """Returns when they were taken away, or could not be."""
        for id in ids:
            await self.mover.until(id, lambda c: c.state in _GONE or c.state is State.ABSENT)
