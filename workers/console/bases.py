"""The images that a build needs: what is not here is pulled first.

An image for another platform than this host's is not given the name that it has in its registry: that goes on meaning
what it meant here. It is called by its digest instead, and the build is told what it is to use.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from domain.build import platforms
from domain.build.stages import Need, Plan
from domain.errors import LadingError
from domain.images.manifest import parse_platform
from domain.images.reference import Reference
from domain.options import nearest
from domain.text.safe import safe
from workers.console.engine import Engine
from workers.transfers import Keys


@dataclass(frozen=True, slots=True)
class Bases:
    """Brings images for one build: `platform` is what it is for if that was said, `always` asks the registry also for
    what is here; `fetch` pulls one for a platform (or for this host), `keys` are the client's for its registry."""

    engine: Engine
    platform: str
    always: bool
    fetch: Callable[[Reference, str], Awaitable[None]]
    keys: Callable[[Reference], Awaitable[Keys]]

    async def bring(self, plan: Plan) -> dict[str, str]:
        """What is to be used for what, as `BuildRequest.bases` wants it. Raises: NotFound, Refused, Unavailable."""
        found: dict[str, str] = {}
        for need in plan.images:
            wanted = need.platform or self.platform
            try:
                other = await self._one(need.name, wanted)
            except LadingError as error:
                raise _missing(need, wanted, error, _stage(need, plan)) from error
            if other:
                found[f"{need.name}@{wanted}"] = other
        return found

    async def lend(self, names: Sequence[str], warn: Callable[[str], Awaitable[None]]) -> tuple[str, ...]:
        """Images to take steps from, as they are called here; one that cannot be had is told, and left out."""
        found = []
        for name in names:
            try:
                found.append(await self._one(name, self.platform) or name)
            except LadingError as error:
                await warn(f"[Warning] no steps can be taken from {safe(name)}: {error.message}")
        return tuple(found)

    async def _one(self, name: str, wanted: str) -> str:
        """What the image is called here, if that is not its name. Raises: LadingError."""
        if name.startswith("sha256:"):
            return ""
        try:
            here = await self.engine.builder.knows(name)
        except LadingError:
            return ""  # it is told with the step that it is for
        fits = here is not None and (not wanted or not here or platforms.same(wanted, here))
        if fits and not self.always:
            return ""
        if fits or not wanted or (here is None and platforms.same(wanted, self.engine.builder.platform)):
            await self.fetch(self.engine.images.expand(name), wanted)
            return ""
        return await self._aside(name, wanted)

    async def _aside(self, name: str, wanted: str) -> str:
        """By the digest of the manifest for that platform."""
        images = self.engine.images
        reference = images.expand(name)
        digest = await images.digest_for(reference, await self.keys(reference), parse_platform(wanted))
        exact = images.expand(f"{reference.host}/{reference.path}@{digest}")
        if await self.engine.builder.knows(str(exact)) is None:
            await self.fetch(exact, wanted)
        return str(exact)


def _missing(need: Need, wanted: str, error: LadingError, guess: str) -> LadingError:
    """`guess` is a stage that may be meant."""
    for_it = f" for {safe(wanted)[:50]}" if wanted else ""
    message = f"{need.place}: {safe(need.name)} is not here{for_it}, and {error.message}"
    return type(error)(message, hint=guess or error.hint)


def _stage(need: Need, plan: Plan) -> str:
    return nearest(need.name, [stage.name for stage in plan.stages if stage.name], prefix="the stage ")
