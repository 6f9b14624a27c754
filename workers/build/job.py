"""One build: its stages side by side, its steps in order, and what is written down of them."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from adapters.images.building import BuildFiles
from adapters.images.context import Context
from domain.build import keys, lenders, platforms
from domain.build.dockerfile import parse_trigger
from domain.build.events import (
    BuildCancelled,
    BuildFailed,
    BuildFinished,
    BuildRequested,
    ContextReceived,
    How,
    StepDone,
    StepStarted,
)
from domain.build.events import StepFailed as StepFailedEvent
from domain.build.instructions import Instruction, OnBuild, Run
from domain.build.keys import Key
from domain.build.lenders import Loan
from domain.build.places import Misread
from domain.build.scope import Bring, Done, Enter, Execute, Scope, begin, history_entry
from domain.build.stages import Arguments, Plan, Stage, find, needs_context
from domain.errors import CommandFailed, KernelError, LadingError, NotFound, Refused, StepFailed
from domain.failpoints import failpoint
from domain.images import authoring
from domain.images.config import Settings, history, merged_env, parse_settings, rfc3339, timestamp
from domain.images.manifest import Platform
from domain.images.model import Image, Layer
from domain.messages import Append, Event, Meta
from domain.network.asked import NetworkingWish
from domain.ports.bus import Clock
from domain.ports.events import EventStore
from domain.text.safe import safe
from workers.build.files import FileSteps, Grown, Prepared
from workers.build.ledger import Cache, Ledger
from workers.build.mounts import SCRIPT, Caches, Mounts, Ready
from workers.build.request import HOST_NETWORK, BuildRequest, Built, Ended, Keyring, Progress, Step
from workers.build.runner import LABEL, Runner
from workers.images import Images, More
from workers.mover import Caller
from workers.requests import CreateRequest

SCRATCH = Image(id="")
Make = Callable[[str], Awaitable[tuple[Image, str]]]
"""Makes an image, and tells the container that it comes from; it is given the cause why it has to."""
Change = Callable[[Layer, str], Awaitable[str]]
"""What is different now in a directory of the layer that a step has made before."""


class Contents(Protocol):
    """What keeps layers and configurations."""

    async def commit(
        self, upper: Path, parent: Image, image_config: dict[str, object], *, author: str = "", message: str = "",
        created_by: str = "",
    ) -> Image:
        """The parent's layers and one from an overlay's upper directory."""

    async def compose(self, layers: Sequence[Layer], config: bytes) -> Image:
        """Layers that are here, and a config."""

    def hold(self, key: str, image: Image, *, held: Collection[str] = ()) -> bool:
        """Keep what the image consists of until `release(key)`, but for layers that are `held` (chain ids); False when
        something of it is gone already."""

    def release(self, image_id: str) -> None:
        """What was given back is in the log, or never will be; the same for what was held under a key."""


@dataclass(frozen=True, slots=True)
class Tools:
    """What a job works with; `rules` are the kernel's for programs of other platforms."""

    store: EventStore
    images: Images
    contents: Contents
    files: BuildFiles
    runner: Runner
    cache: Cache
    caches: Caches
    clock: Clock
    platform: str
    upper: Callable[[str], Path]
    rules: Callable[[], Sequence[str]]


@dataclass(frozen=True, slots=True)
class State:
    """Where a stage stands: `image` is one that is known and has exactly its layers; `entries` is its history, `base`
    the document of what it began with, `platform` what its programs are for, `keys` what its steps are kept under,
    each with the number of layers after it."""

    scope: Scope
    image: Image
    entries: tuple[dict[str, Any], ...]
    base: Mapping[str, Any]
    base_id: str
    platform: str
    triggers: tuple[str, ...] = ()
    keys: Mapping[str, int] = field(default_factory=dict)

    @property
    def chain(self) -> str:
        """What its layers are called together; empty for none."""
        return self.image.layers[-1].chain_id if self.image.layers else ""


@dataclass(frozen=True, slots=True)
class Made:
    """What a step has made: an image with the layers after it, found or new; `keys` are all that it is kept under."""

    image: Image
    how: How
    key: Key
    size: int = 0
    container: str = ""
    keys: tuple[Key, ...] = ()


@dataclass
class Job:
    """One build."""

    id: str
    request: BuildRequest
    plan: Plan
    arguments: Arguments
    tools: Tools
    bring: Callable[[], Awaitable[Context]] | None
    progress: Progress
    meta: Meta
    who: Caller
    keyring: Keyring = field(default_factory=Keyring)
    lenders: list[Image] = field(default_factory=list)
    ledger: Ledger = field(init=False)
    stages: dict[int, "asyncio.Task[State]"] = field(default_factory=dict)
    containers: list[str] = field(default_factory=list)
    heads: dict[int, tuple[State, int, tuple[Instruction, ...]]] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    """Images that this build goes on from: whoever removes them, or what is kept of them, meanwhile takes nothing away
    from under it."""
    layers: set[str] = field(default_factory=set)
    """Chain ids of all their layers."""
    total: int = 0
    ran: bool = False
    """Whether anything was not in the cache."""

    def __post_init__(self) -> None:
        self.ledger = Ledger(self.id, self.tools.store, self.tools.clock, self.meta)
        self._context: asyncio.Task[Context] | None = None
        self._begun = self.tools.clock.now()

    async def run(self, begun: BuildRequested, references: tuple[str, ...]) -> Built:
        """All of it. Raises what the first step that went wrong means."""
        try:
            return await self._run_held(begun, references)
        finally:
            for _ in self.held:
                self.tools.contents.release(self.id)

    def hold(self, image: Image) -> bool:
        """Whether all of the image is here; then it stays until this build has ended."""
        if image.id and image.id not in self.held:
            if not self.tools.contents.hold(self.id, image, held=self.layers):
                return False
            self.held.add(image.id)
            self.layers |= {layer.chain_id for layer in image.layers}
        return True

    async def _run_held(self, begun: BuildRequested, references: tuple[str, ...]) -> Built:
        await self._prepare()
        await self._begin(begun.model_copy(update={"steps": self.total}))
        try:
            state = await self._all_stages()
            built = await self._finish(state, references)
        except asyncio.CancelledError:
            await asyncio.shield(self._end(BuildCancelled(by="user")))
            raise
        except Exception as error:  # also a defect: what was begun has an outcome
            reason = error.message if isinstance(error, LadingError) else f"{type(error).__name__}: {error}"
            await self._end(BuildFailed(reason=reason, took=self._took()))
            raise
        await self.tools.runner.gone(self.containers)
        return built

    async def _begin(self, begun: BuildRequested) -> None:
        """Write down that it is wanted. A build that waits for no context, and finds everything in the cache, is over
        before that would be on the disk: it says so together with how it has ended."""
        if needs_context(self.plan):
            await self.ledger.write(begun)
            failpoint("build.requested")
        else:
            self.ledger.note(begun)

    async def _end(self, event: Event) -> None:
        with suppress(LadingError):
            await self.ledger.end(event)
        if not self.request.keep:
            await self.tools.runner.gone(self.containers)

    def _took(self) -> int:
        return self.tools.clock.now() - self._begun

    # Stages

    async def _prepare(self) -> None:
        """Look up what stages begin with, and number all steps. Raises: NotFound, Misread."""
        await self._find_lenders()
        number = 1
        pending: dict[int, tuple[str, ...]] = {}
        for place in self.plan.needed:
            stage = self.plan.stages[place]
            state = await self._base(stage) if stage.base.stage < 0 else None
            wanted = state.triggers if state is not None else pending.get(stage.base.stage, ())
            called = stage.base.image or self.plan.stages[max(stage.base.stage, 0)].called
            extra = tuple(parse_trigger(trigger, called, self.plan.escape) for trigger in wanted)
            body = (*extra, *stage.body)
            self._check_granted(body)
            pending[place] = tuple(i.trigger for i in body if isinstance(i, OnBuild))
            self.heads[place] = (state or self._empty(stage), number, body)
            number += 1 + len(body)
        self.total = number - 1

    def _check_granted(self, body: Sequence[Instruction]) -> None:
        """Neither a Dockerfile nor a trigger of an image gives rights to itself. Raises: Misread."""
        if self.request.network == "host" or HOST_NETWORK in self.request.allowed:
            return
        claiming = next((one for one in body if isinstance(one, Run) and one.network == "host"), None)
        if claiming is not None:
            raise Misread(claiming.place, "RUN --network=host is not allowed",
                          hint=f"whoever builds may allow it: --allow {HOST_NETWORK}")

    async def _find_lenders(self) -> None:
        for name in self.request.cache_from:
            try:
                self.lenders.append(self._kept(name, await self.tools.images.resolve(name)))
            except LadingError as error:
                await self.progress.note(f"[Warning] no steps can be taken from {safe(name)}: {error.message}")

    async def _all_stages(self) -> State:
        try:
            async with asyncio.TaskGroup() as group:
                for number in self.plan.needed:
                    self.stages[number] = group.create_task(self._stage(self.plan.stages[number]))
            return self.stages[self.plan.target].result()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            if self._context is not None and not self._context.done():
                self._context.cancel()
                await asyncio.gather(self._context, return_exceptions=True)

    async def _stage(self, stage: Stage) -> State:
        state, number, body = self.heads[stage.number]
        for before in self.plan.before[stage.number]:
            await self.stages[before]
        if stage.base.stage >= 0:
            below = self.stages[stage.base.stage].result()
            state = replace(below, scope=begin(below.scope.settings, below.scope.arguments))
        state = await self._from(stage, number, state, len(body) - len(stage.body))
        for place, instruction in enumerate(body, number + 1):
            state = await self._step(stage, place, instruction, state)
        return state

    async def _base(self, stage: Stage) -> State:
        """What an image gives. Raises: NotFound, Misread."""
        if not stage.base.image:
            return self._empty(stage)
        wanted = stage.platform or self.request.platform
        try:
            image = await self.resolved(stage.base.image, wanted)
        except NotFound as error:
            raise NotFound(f"{stage.head.place}: {error.message}", hint=error.hint) from error
        except LadingError as error:
            raise Misread(stage.head.place, error.message, hint=error.hint) from error
        settings = parse_settings(image.config.get("config"))
        platform = platforms.of_document(image.config) or self.tools.platform
        if platforms.same(platform, self.tools.platform):
            platform = self.tools.platform
        return State(
            begin(settings), image, tuple(history(image.config)), image.config, image.id, platform, settings.on_build
        )

    async def resolved(self, name: str, wanted: str) -> Image:
        """The image of that name, for that platform if one is wanted. Raises: NotFound, Ambiguous, InvalidValue."""
        image = await self.tools.images.resolve(self.request.bases.get(f"{name}@{wanted}", name))
        own = platforms.of_document(image.config)
        if wanted and own and not platforms.same(wanted, own):
            raise NotFound(f"{safe(name)} is here for {own}, and not for {safe(wanted)[:50]}")
        return self._kept(name, image)

    def _kept(self, name: str, image: Image) -> Image:
        """Raises: NotFound for one that is being removed at this moment, or is damaged."""
        if not self.hold(image):
            raise NotFound(f"No such image: {safe(name)}", hint="something of it is missing: load or pull it again")
        return image

    def _empty(self, stage: Stage) -> State:
        """What `scratch` is."""
        platform = stage.platform or self.request.platform or self.tools.platform
        return State(begin(Settings()), SCRATCH, (), {}, "", platform)

    async def _from(self, stage: Stage, number: int, state: State, triggers: int) -> State:
        step = Step(number, self.total, stage.called, stage.head.text)
        await self.progress.step(step)
        if triggers:
            await self.progress.note(f"# Executing {triggers} build trigger{'s' if triggers > 1 else ''}")
        self.ledger.note(self._done(step, Made(state.image, "set", _NO_KEY), 0))
        await self.progress.ended(step, Ended("set", 0, 0, state.image.id))
        return state

    # Steps

    async def _step(self, stage: Stage, number: int, instruction: Instruction, state: State) -> State:
        step = Step(number, self.total, stage.called, instruction.text)
        begun = self.tools.clock.now()
        await self.progress.step(step)
        try:
            done = state.scope.after(instruction, self.plan, self.arguments)
            made = await self._work(step, done, state, stage)
        except LadingError as error:
            raise await self._failed(step, instruction, error, begun) from error
        took = self.tools.clock.now() - begun
        if made.how != "ran":
            self.ledger.note(self._done(step, made, took))
        await self.progress.ended(step, Ended(made.how, took, made.size, made.image.id, made.container))
        entry = history_entry(
            rfc3339(made.image.created or self._begun) if made.how != "set" else rfc3339(self._begun),
            done.created_by, empty=made.how == "set", author=done.scope.author,
        )
        kept = {key.digest: len(made.image.layers) for key in made.keys}
        return replace(
            state, scope=done.scope, image=made.image, entries=(*state.entries, entry), keys={**state.keys, **kept}
        )

    def _done(self, step: Step, made: Made, took: int) -> StepDone:
        return StepDone(
            number=step.number, stage=step.stage, text=step.text, how=made.how, key=made.key.digest,
            image_id=made.image.id, size=made.size, took=took, container=made.container,
        )

    async def _failed(self, step: Step, instruction: Instruction, error: LadingError, begun: int) -> LadingError:
        """The error with its place; what has happened is written down."""
        code = error.exit_code if isinstance(error, StepFailed) else 0
        took = self.tools.clock.now() - begun
        self.ledger.note(StepFailedEvent(
            number=step.number, stage=step.stage, text=step.text, reason=error.message, code=code, took=took,
        ))
        if isinstance(error, Misread):
            return error
        message = f"{instruction.place}: {error.message}"
        if isinstance(error, StepFailed):
            return StepFailed(message, exit_code=code, hint=error.hint)
        if isinstance(error, KernelError):
            return KernelError(message, errno=error.errno, stage=error.stage, path=error.path, hint=error.hint)
        return type(error)(message, hint=error.hint) if type(error).__init__ is LadingError.__init__ else error

    async def _work(self, step: Step, done: Done, state: State, stage: Stage) -> Made:
        on = Grown(state.image, done.scope.settings.document(), done.created_by)
        match done.work:
            case None:
                return Made(state.image, "set", _NO_KEY)
            case Execute() as work:
                return await self._execute(step, work, on, stage, state)
            case Bring() as work:
                async with AsyncExitStack() as later:
                    stack = later.enter_context(ExitStack())
                    steps = FileSteps(self.tools.files, _Workshop(self, stage), self.request.ignore, stack, later)
                    return await self._of_files(step, await steps.bring(work, on), on)
            case Enter() as work:
                async with AsyncExitStack() as later:
                    stack = later.enter_context(ExitStack())
                    steps = FileSteps(self.tools.files, _Workshop(self, stage), self.request.ignore, stack, later)
                    prepared = await steps.enter(work, on)
                    if prepared is None:
                        return Made(state.image, "set", _NO_KEY)
                    return await self._of_files(step, prepared, on)

    async def _of_files(self, step: Step, prepared: Prepared, on: Grown) -> Made:
        async def make(cause: str) -> tuple[Image, str]:
            await self.progress.running(step, "", cause)
            return await prepared.make(await self.tools.cache.holds(prepared.keys[0])), ""

        async def said() -> Loan | None:
            for loan in lenders.others(self.lenders, on.image.layers):
                if await prepared.same(loan.layer):
                    return loan
            return None

        return await self._made(step, prepared.keys, on, make, said, prepared.change)

    async def _made(
        self, step: Step, wanted: tuple[Key, ...], on: Grown, make: Make, said: Callable[[], Awaitable[Loan | None]],
        change: Change | None = None,
    ) -> Made:
        """What is kept under one of the keys, or else what `make` makes: then it is kept under all of them. `said`
        looks for it in images of other builders that steps may be taken from, `change` for what is different now."""
        async with self.tools.cache.maker(wanted[0]):
            for key in wanted:
                if (found := await self.find(key)) is not None:
                    return Made(found, "cached", key, keys=wanted)
            key = wanted[0]
            if (loan := await self._lent(wanted, on, said)) is not None:
                return await self._borrow(step, loan, wanted, on)
            cause = "--no-cache" if self.request.no_cache else await self._cause(step, key, change)
            await self.ledger.write(StepStarted(
                number=step.number, stage=step.stage, text=step.text, key=key.digest, inputs=key.parts, cause=cause,
            ))
            self.ran, begun = True, self.tools.clock.now()
            failpoint("build.before-step")
            image, container = await make(cause)
            failpoint("build.before-keep")
            made = Made(image, "ran", key, image.layers[-1].size, container, wanted)
            await self._keep(step, made, on, self.tools.clock.now() - begun, wanted)
            return made

    async def _cause(self, step: Step, key: Key, change: Change | None) -> str:
        """Why it is not in the cache. Of many files only their directories are kept with a key: which of them it is is
        looked up in what was made then."""
        cause, before = await self.tools.cache.cause(step.text, key)
        directory, _, rest = cause.partition(keys.FOLDED)
        if not rest.startswith(" changed") or change is None or before is None or not before.layers:
            return cause
        try:
            found = await change(before.layers[-1], directory)
        except LadingError:  # it is going away at this moment
            return cause
        return safe(found) + rest.removeprefix(" changed") if found else cause

    async def find(self, key: Key) -> Image | None:
        """What is kept under a key, if that may be used."""
        found = None if self.request.no_cache else await self.tools.cache.find(key, self.ledger)
        return found if found is not None and self.hold(found) else None

    async def _lent(
        self, wanted: Sequence[Key], on: Grown, said: Callable[[], Awaitable[Loan | None]]
    ) -> Loan | None:
        """The step in one of the images that steps may be taken from."""
        if self.request.no_cache or not self.lenders:
            return None
        return lenders.by_key(self.lenders, [key.digest for key in wanted], on.image.layers) or await said()

    async def _borrow(self, step: Step, loan: Loan, wanted: tuple[Key, ...], on: Grown) -> Made:
        """Keep what another image has, as if it had been made here."""
        document = authoring.committed(
            on.image, on.config, loan.layer.diff_id, timestamp(loan.created) or self._begun,
            authoring.Step(created_by=on.created_by), _platform(self.tools.platform),
        )
        image = await self.tools.contents.compose(loan.layers, document)
        made = Made(image, "cached", wanted[0], loan.layer.size, keys=wanted)
        await self._keep(step, made, on, 0, wanted, source=loan.lender.id)
        return made

    async def _keep(
        self, step: Step, made: Made, on: Grown, took: int, wanted: Sequence[Key], source: str = ""
    ) -> None:
        async def record(more: More) -> None:
            async def batch() -> Sequence[Append]:
                entries = [
                    await self.tools.cache.storing(key, step.text, made.image, made.size, self.id, source)
                    for key in wanted
                ]
                return (*await more(), *entries)

            await self.tools.images.record_cached(made.image, parent=on.image.id, more=batch, meta=self.meta)

        self.hold(made.image)
        await self.ledger.write_with(record, *([self._done(step, made, took)] if made.how == "ran" else []))
        failpoint("build.kept")

    # Commands

    async def _execute(self, step: Step, work: Execute, on: Grown, stage: Stage, state: State) -> Made:
        if work.network in ("", "default"):
            work = replace(work, network=self.request.network)
        with ExitStack() as stack:
            mounts = Mounts(work, self.tools.files, _Workshop(self, stage), self.request.ignore, self.tools.caches,
                            self.request.secrets, self.keyring.agents)
            mounted = await mounts.look(stack)

            async def said() -> Loan | None:
                return lenders.by_history(self.lenders, work, state.entries, on.created_by, on.image.layers)

            async def make(cause: str) -> tuple[Image, str]:
                self._check_runs(state.platform)
                async with AsyncExitStack() as beside:
                    return await self._run(step, work, on, cause, await mounts.ready(beside))

            key = keys.of_run(work, on.chain, state.platform, mounted, self.request.hosts)
            return await self._made(step, (key,), on, make, said)

    def _check_runs(self, platform: str) -> None:
        """Raises: Refused."""
        if not platforms.executes(platform, self.tools.platform, self.tools.rules()):
            raise Refused(
                f"RUN needs a kernel that executes programs for {platform}, and this host is {self.tools.platform}",
                hint="register an emulator with binfmt_misc (packages call it qemu-user-static), or give such stages "
                     "only COPY, and build in one FROM --platform=$BUILDPLATFORM",
            )

    async def _run(self, step: Step, work: Execute, on: Grown, cause: str, ready: Ready) -> tuple[Image, str]:
        runner, who = self.tools.runner, Caller(self.who.actor)
        try:
            id = await runner.start(self._wish(step, work, ready), on.image, who)
        except CommandFailed as error:
            raise StepFailed(error.message, exit_code=error.exit_code, hint=error.hint) from error
        self.containers.append(id)
        kept = False
        try:
            await self.progress.running(step, id, cause)
            code = await runner.finish(id, lambda stream, data: self.progress.output(step, stream, data))
            if code != 0:
                kept = self.request.keep
                raise self._unsuccessful(work, code, id if kept else "")
            return await self._committed(id, on, ready), id
        finally:
            if kept:
                self.containers.remove(id)
            else:
                await asyncio.shield(runner.remove(id, who))

    async def _committed(self, id: str, on: Grown, ready: Ready) -> Image:
        """What the command has changed, as one more layer."""
        failpoint("build.before-commit")
        upper = self.tools.upper(id)
        if ready.places:
            await asyncio.to_thread(self.tools.files.take_out, upper, ready.places, on.image.layers)
        return await self.tools.contents.commit(upper, on.image, on.config, created_by=on.created_by)

    def _unsuccessful(self, work: Execute, code: int, kept: str) -> StepFailed:
        hint = f"its container is kept: {kept[:12]} (lading commit, cp and rm know it)" if kept else ""
        told = " ".join(work.argv) if work.argv else work.script.partition("\n")[0]
        return StepFailed(
            f"The command '{safe(told)}' returned a non-zero code: {code}", exit_code=code if 0 < code < 256 else 1,
            hint=hint,
        )

    def _wish(self, step: Step, work: Execute, ready: Ready) -> CreateRequest:
        return CreateRequest(
            image=self.plan.stages[self.plan.target].called,
            name=f"build-{self.id[:12]}-{step.number}",
            command=work.argv or (SCRIPT,),
            entrypoint=(),
            env=merged_env(work.env, ready.env),
            mounts=ready.mounts,
            workdir=work.workdir,
            user=work.user,
            labels={LABEL: self.id},
            resources=self.request.resources,
            ulimits=self.request.ulimits,
            shm_size=self.request.shm_size,
            network=work.network,
            networking=NetworkingWish(hosts=self.request.hosts),
        )

    # Context

    async def context(self) -> Context:
        """What the client sends; it is asked once. Raises: Refused."""
        if self.bring is None:
            raise NotFound("there is no build context: a Dockerfile alone was given")
        if self._context is None:
            self._context = asyncio.create_task(self._receive())
        return await asyncio.shield(self._context)

    async def _receive(self) -> Context:
        assert self.bring is not None
        begun = self.tools.clock.now()
        context = await self.bring()
        self.ledger.note(ContextReceived(files=context.files, bytes=context.size,
                                         took=self.tools.clock.now() - begun))
        return context

    # The end

    async def _finish(self, state: State, references: tuple[str, ...]) -> Built:
        if self.request.export:
            layers, took = state.image.layers, self._took()
            size = sum(layer.size for layer in layers)
            await self.ledger.write(BuildFinished(size=size, took=took))
            return Built(self.id, "", size, took, (), layers)
        settings = state.scope.settings
        if self.request.labels:
            settings = replace(settings, labels={**(settings.labels or {}), **self.request.labels})
        if state.base_id and len(state.entries) == len(history(state.base)) and not self.request.labels:
            return await self._record(await self.tools.images.image(state.base_id), state, references)
        document = self._document(state, settings)
        key = keys.of_image(state.chain, document)
        async with self.tools.cache.maker(key):
            image = await self.find(key) or self._whole(state, document)
            if image is None:
                whole = {**document, **lenders.record(state.keys)}
                image = made = await self.tools.contents.compose(state.image.layers, authoring.config_bytes(whole))
                self.ledger.also(lambda: self.tools.cache.storing(key, "", made, 0, self.id))
            return await self._record(image, state, references)

    def _whole(self, state: State, document: Mapping[str, Any]) -> Image | None:
        """One of the images that steps may be taken from, if the result is nothing else."""
        if self.request.no_cache:
            return None
        same = keys.timeless(document)
        return next((one for one in self.lenders
                     if one.layers == state.image.layers and keys.timeless(one.config) == same), None)

    async def _record(self, image: Image, state: State, references: tuple[str, ...]) -> Built:
        """The base itself if nothing was changed, one that was built before, or a new one: it has these names now."""
        took = self._took()
        finished = BuildFinished(image_id=image.id, references=references, size=image.size, took=took)

        async def record(more: More) -> None:
            await self.tools.images.record_built(
                image, references, parent=state.base_id, source=self.id, more=more, meta=self.meta
            )

        failpoint("build.before-finish")
        await self.ledger.write_with(record, finished)
        failpoint("build.finished")
        return Built(self.id, image.id, image.size, took, references)

    def _document(self, state: State, settings: Settings) -> dict[str, Any]:
        return authoring.built(
            dict(state.base), settings, [layer.diff_id for layer in state.image.layers], state.entries,
            rfc3339(self._begun), state.scope.author, _platform(state.platform),
        )


_NO_KEY = Key("", ())


@dataclass(frozen=True, slots=True)
class _Workshop:
    """What a step of files may ask of its build."""

    job: Job
    stage: Stage

    async def context(self) -> Context:
        """See `workers.build.files.Workshop`."""
        return await self.job.context()

    async def source(self, name: str) -> Image:
        """See `workers.build.files.Workshop`. Raises: NotFound."""
        source = find(self.job.plan.stages, name, self.stage.number)
        if source.stage < 0:
            return await self.job.resolved(source.image, self.job.request.platform)
        if source.stage not in self.job.stages:
            raise NotFound(f"the stage {safe(name)} is not built for this target")
        return (await self.job.stages[source.stage]).image

    async def known(self, key: Key) -> bool:
        """See `workers.build.files.Workshop`."""
        return await self.job.find(key) is not None

    @property
    def keyring(self) -> Keyring:
        """See `workers.build.files.Workshop`."""
        return self.job.keyring


def _platform(text: str) -> Platform:
    os, architecture, variant = (*text.split("/"), "")[:3]
    return Platform(os=os, architecture=architecture, variant=variant)


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """What went wrong first: everything after it was called off."""
    for error in errors.exceptions:
        return _first(error) if isinstance(error, BaseExceptionGroup) else error
    return errors
