"""Stages of a build and what they need of each other. Pure.

Only what the target needs is built. Stages that do not need each other are independent: `order` says for each which
others have to be done before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from domain.build.dockerfile import Dockerfile
from domain.build.instructions import Arg, Copy, From, Instruction, Run
from domain.build.places import Misread, Place
from domain.build.words import BadWord, Values, expand
from domain.errors import InvalidValue, NotFound
from domain.options import nearest
from domain.text.safe import safe

SCRATCH = "scratch"
PROXIES = tuple(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY") for name in (
        upper, upper.lower())
)
"""Arguments that need no ARG, reach every RUN, and neither history nor cache keys."""
_INLINE_CACHE = "BUILDKIT_INLINE_CACHE"
"""Asks other builders for what images of ours always have: what `--cache-from` finds steps by."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where files or a base come from: the number of a stage, or the name of an image."""

    stage: int = -1
    image: str = ""


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: `number` from 0, `base` what it begins with (neither a stage nor an image: nothing, `scratch`)."""

    number: int
    name: str
    head: From
    body: tuple[Instruction, ...]
    base: Source
    platform: str = ""

    @property
    def called(self) -> str:
        """For screens and messages."""
        return self.name or f"stage-{self.number}"


@dataclass(frozen=True, slots=True)
class Need:
    """An image that is needed: `place` is where it is named first, `platform` what it has to be for if that is said."""

    name: str
    place: Place
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All stages, the one that is wanted, and those that it needs, itself included, in the order of the file. `images`
    are the images that these begin with or take files from, each once for a platform."""

    stages: tuple[Stage, ...]
    target: int
    needed: tuple[int, ...]
    before: Mapping[int, tuple[int, ...]]
    globals: Mapping[str, str | None] = field(default_factory=dict)
    used: frozenset[str] = frozenset()
    escape: str = "\\"
    warnings: tuple[str, ...] = ()
    images: tuple["Need", ...] = ()

    @property
    def instructions(self) -> int:
        """How many steps the build has."""
        return sum(1 + len(self.stages[number].body) for number in self.needed)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What `--build-arg` gave, and what is predefined (the platforms)."""

    given: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] = field(default_factory=dict)


def platform_arguments(target: str, build: str) -> dict[str, str]:
    """TARGETPLATFORM and its like, from texts like `linux/arm64/v8`."""
    found: dict[str, str] = {}
    for prefix, text in (("TARGET", target), ("BUILD", build)):
        os, architecture, variant = (*text.split("/"), "", "")[:3]
        found |= {f"{prefix}PLATFORM": text, f"{prefix}OS": os, f"{prefix}ARCH": architecture,
                  f"{prefix}VARIANT": variant}
    return found


def plan(dockerfile: Dockerfile, arguments: Arguments, target: str = "") -> Plan:
    """The stages and what has to be built. Raises: Misread, InvalidValue, NotFound."""
    heading, groups = _grouped(dockerfile)
    known, used = _global_arguments(heading, arguments, dockerfile.escape)
    values = Values({**arguments.platform, **{k: v for k, v in known.items() if v is not None}}, used)
    stages: list[Stage] = []
    for number, (head, body) in enumerate(groups):
        stages.append(_stage(number, head, tuple(body), stages, values, dockerfile.escape))
    wanted = _target(stages, target)
    before = {stage.number: _needs(stage, stages, values, dockerfile.escape) for stage in stages}
    needed: set[int] = set()
    todo = [wanted]
    while todo:
        number = todo.pop()
        if number not in needed:
            needed.add(number)
            todo += before[number]
    ordered = tuple(sorted(needed))
    return Plan(tuple(stages), wanted, ordered, {number: before[number] for number in ordered}, known,
                frozenset(values.used), dockerfile.escape, dockerfile.warnings,
                _images([stages[number] for number in ordered], stages, values, dockerfile.escape))


def find(stages: Sequence[Stage], name: str, below: int) -> Source:
    """What a name means to stage `below`: an earlier stage by name (the last one of it) or number, else an image."""
    for stage in reversed(stages[:below]):
        if stage.name and stage.name == name.lower():
            return Source(stage.number)
    if name.isascii() and name.isdigit() and int(name[:6]) < below and len(name) < 6:
        return Source(int(name))
    return Source(image=name)


def needs_context(plan: Plan) -> bool:
    """Whether anything that is to be built takes files from the context."""
    bodies = (instruction for number in plan.needed for instruction in plan.stages[number].body)
    return any(_takes_from_context(instruction) for instruction in bodies)


def _takes_from_context(instruction: Instruction) -> bool:
    if isinstance(instruction, Copy):
        outside = [source for source in instruction.sources if not (source.startswith("<<") and instruction.heredocs)]
        elsewhere = ("http://", "https://", "git://", "github.com/")
        fetched = instruction.add and all(source.startswith(elsewhere) for source in outside)
        return bool(outside) and not instruction.source and not fetched
    if isinstance(instruction, Run):
        mounts = [dict(mount.options) for mount in instruction.mounts]
        return any(mount.get("type", "bind") == "bind" and not mount.get("from") for mount in mounts)
    return False


def unused(plan: Plan, arguments: Arguments) -> tuple[str, ...]:
    """Arguments that were given and that no ARG of the file asks for."""
    declared = set(plan.globals)
    for stage in plan.stages:
        for instruction in stage.body:
            if isinstance(instruction, Arg):
                declared |= {name for name, _ in instruction.pairs}
    known = (*PROXIES, _INLINE_CACHE)
    return tuple(sorted(name for name in arguments.given if name not in declared and name not in known))


def _grouped(dockerfile: Dockerfile) -> tuple[list[Arg], list[tuple[From, list[Instruction]]]]:
    heading: list[Arg] = []
    groups: list[tuple[From, list[Instruction]]] = []
    for instruction in dockerfile.instructions:
        if isinstance(instruction, From):
            groups.append((instruction, []))
        elif groups:
            groups[-1][1].append(instruction)
        elif isinstance(instruction, Arg):
            heading.append(instruction)
        else:
            raise Misread(instruction.place, "no build stage in current context: a Dockerfile begins with FROM",
                          hint="only ARG may stand before it")
    if not groups:
        raise InvalidValue(f"no build stage in current context: there is no FROM in {safe(dockerfile.file)}")
    return heading, groups


def _global_arguments(
    heading: Sequence[Arg], arguments: Arguments, escape: str
) -> tuple[dict[str, str | None], set[str]]:
    known: dict[str, str | None] = {}
    used: set[str] = set()
    for instruction in heading:
        for name, default in instruction.pairs:
            before = {**arguments.platform, **{k: v for k, v in known.items() if v is not None}}
            if name in arguments.given:
                known[name] = arguments.given[name]
            elif default is not None:
                known[name] = expanded(instruction, default, Values(before, used), escape)
            else:
                known[name] = arguments.platform.get(name)
    return known, used


def _stage(
    number: int, head: From, body: tuple[Instruction, ...], stages: Sequence[Stage], values: Values, escape: str
) -> Stage:
    base = expanded(head, head.base, values, escape)
    if not base:
        raise Misread(head.place, f"base name ({safe(head.base)}) should not be blank",
                      hint="an ARG that FROM uses stands before the first FROM, with a value")
    platform = expanded(head, head.platform, values, escape)
    if head.name and head.name.isdigit():
        raise Misread(head.place, f"invalid name for build stage: {head.name}")
    source = Source() if base == SCRATCH else find(stages, base, number)
    if source.stage >= 0 and base.isdigit():
        source = Source(image=base)  # a number names a stage for COPY only
    return Stage(number, head.name, head, body, source, platform)


def _target(stages: Sequence[Stage], target: str) -> int:
    if not target:
        return len(stages) - 1
    for stage in reversed(stages):
        if stage.name == target.lower():
            return stage.number
    if target.isascii() and target.isdigit() and len(target) < 6 and int(target) < len(stages):
        return int(target)
    guess = nearest(target, [stage.name for stage in stages if stage.name])
    raise NotFound(f'target stage "{safe(target)[:100]}" could not be found' + (f" ({guess})" if guess else ""))


def _needs(stage: Stage, stages: Sequence[Stage], values: Values, escape: str) -> tuple[int, ...]:
    found = {stage.base.stage} if stage.base.stage >= 0 else set()
    for instruction in stage.body:
        for name in _named(instruction):
            source = find(stages, expanded(instruction, name, values, escape), stage.number)
            if source.stage >= 0:
                found.add(source.stage)
            else:
                _check_not_later(instruction, name, stage, stages)
    return tuple(sorted(found))


def _images(
    needed: Sequence[Stage], stages: Sequence[Stage], values: Values, escape: str
) -> tuple[Need, ...]:
    found: dict[tuple[str, str], Place] = {}
    for stage in needed:
        if stage.base.image:
            found.setdefault((stage.base.image, stage.platform), stage.head.place)
        for instruction in stage.body:
            for name in _named(instruction):
                image = find(stages, expanded(instruction, name, values, escape), stage.number).image
                if image and image != SCRATCH:
                    found.setdefault((image, ""), instruction.place)
    return tuple(Need(name, place, platform) for (name, platform), place in found.items())


def _check_not_later(instruction: Instruction, name: str, stage: Stage, stages: Sequence[Stage]) -> None:
    if any(later.name == name.lower() for later in stages[stage.number :] if later.name):
        raise Misread(instruction.place, f'the stage "{safe(name)}" comes later, or is this one',
                      hint="a stage can only use those before it")
    if name.isascii() and name.isdigit():
        raise Misread(instruction.place, f"there is no stage {name} before this one")


def _named(instruction: Instruction) -> tuple[str, ...]:
    if isinstance(instruction, Copy):
        return (instruction.source,) if instruction.source else ()
    if isinstance(instruction, Run):
        return tuple(text for mount in instruction.mounts for name, text in mount.options if name == "from" and text)
    return ()


def expanded(instruction: Instruction, text: str, values: Values, escape: str) -> str:
    """A word of an instruction with its variables replaced. Raises: Misread."""
    try:
        return expand(text, values, escape=escape)
    except BadWord as error:
        raise Misread(instruction.place, f"{error.message} (in {safe(text)[:100]})") from error
