"""What a subcommand is: a row of data (usage, options, examples) and one coroutine."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from domain.options import FILE, Option, Parsed
from domain.text.safe import safe
from workers.accesses import Reading
from workers.console.call import Call
from workers.console.engine import Engine
from workers.mover import Caller


@dataclass(frozen=True, slots=True)
class Example:
    """A command line worth copying, and what it does."""

    command: str
    meaning: str


@dataclass(frozen=True)
class Verb:
    """One subcommand. `usage` follows its name; arguments are between `least` and `most` (None: any number).

    With `interspersed` false the first argument ends the options. The first `paths` arguments name files of the client,
    as do the options whose value is a `FILE`. `also` are full spellings under nouns and aliases.
    `refusal` is the exit status when the engine refuses. `reads` is what it is recorded as if it only looks.
    """

    name: str
    usage: str
    summary: str
    run: "Callable[[Invocation], Awaitable[int]]"
    examples: tuple[Example, Example, *tuple[Example, ...]]
    options: tuple[Option, ...] = ()
    also: tuple[str, ...] = ()
    least: int = 0
    most: int | None = None
    interspersed: bool = True
    refusal: int = 1
    notes: str = ""
    paths: int = 0
    group: str = "Commands"
    reads: str = ""

    @property
    def files(self) -> frozenset[str]:
        """The options that name files of the client."""
        return frozenset(option.name for option in self.options if option.value == FILE)


@dataclass
class Invocation:
    """One use of a verb: its options, and where its words go."""

    verb: Verb
    spelling: str
    call: Call
    engine: Engine
    options: Parsed
    now: Callable[[], int]
    reading: Reading
    preset: dict[str, str] = field(default_factory=dict)

    @property
    def arguments(self) -> tuple[str, ...]:
        """What is not an option."""
        return self.options.arguments

    @property
    def who(self) -> Caller:
        """Who asks."""
        return self.call.who

    @property
    def columns(self) -> int:
        """The width of the terminal that shows stdout; 0 when it is none, or nothing may be shortened."""
        terminal = self.call.terminal
        return terminal.cols if terminal.stdout_tty and not self.options.flag("no-trunc") else 0

    def asked(self, place: int) -> Caller:
        """Who asks for what the argument at `place` means: each argument is a request of its own."""
        who = self.who
        return Caller(who.actor, f"{who.command_id}/{place}") if who.command_id and place else who

    async def say(self, text: str) -> None:
        """A line of text on stdout; it must be safe already."""
        await self.out(text + "\n")

    async def out(self, text: str) -> None:
        """Text on stdout; it must be safe already."""
        if text:
            await self.call.out(text.encode("utf-8", "backslashreplace"))

    async def echo(self, argument: str) -> None:
        """An argument on stdout, exactly as it was typed."""
        await self.say(safe(argument))

    async def agreed(self, what: str) -> bool:
        """Whether the person at the client says yes to what is going to be done."""
        answer = await self.call.ask(f"WARNING! {what}\nAre you sure you want to continue? [y/N] ")
        return answer.strip().lower() in ("y", "yes")

    async def warn(self, text: str) -> None:
        """A line of text on stderr; it must be safe already."""
        await self.call.err((text + "\n").encode("utf-8", "backslashreplace"))
