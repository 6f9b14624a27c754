"""How a refusal reads and what exit status it gives. The only place that knows the numbers.

125 for a command line that cannot be read, and for everything that `run` could not do; 126 and 127 for a command that
could not be executed; 1 for every other refusal.
"""

from collections.abc import Awaitable, Callable

from domain.errors import CommandFailed, InUse, LadingError, NameTaken, StepFailed
from domain.messages import Command
from domain.options import OptionError
from domain.text.safe import safe
from domain.text.template.values import TemplateError
from workers.console.verb import Invocation, Verb
from workers.mover import Caller

UNREADABLE = 125


class ArgumentCount(LadingError):
    """Too few or too many arguments."""


class Plain(LadingError):
    """A refusal by the console itself, before the engine was asked; `status` is the exit status."""

    def __init__(self, message: str, *, hint: str = "", status: int = 1) -> None:
        super().__init__(message, hint=hint)
        self.status = status


class Unreachable(Plain):
    """No engine answers; what the client knows itself may have been told before."""


def status_of(error: LadingError, verb: Verb) -> int:
    """The exit status of the whole command."""
    if isinstance(error, OptionError):
        return UNREADABLE
    if isinstance(error, Plain):
        return error.status
    if isinstance(error, StepFailed):
        return error.exit_code
    if isinstance(error, CommandFailed) and verb.refusal == UNREADABLE:
        return error.exit_code
    return 1 if isinstance(error, ArgumentCount) else verb.refusal


def sentence(error: LadingError) -> str:
    """The refusal as its first line, without the hint."""
    from_console = isinstance(error, OptionError | ArgumentCount | Plain | TemplateError)
    return safe(error.message) if from_console else f"Error response from daemon: {safe(error.message)}"


def lines(error: LadingError) -> str:
    """The refusal, and below it what to do."""
    hint = "\n".join(safe(line) for line in error.hint.splitlines())
    if hint and isinstance(error, NameTaken | InUse):
        hint = f"try: {hint}"
    return sentence(error) + (f"\n{hint}" if hint else "")


async def each(invocation: Invocation, act: Callable[[str, Caller], Awaitable[None]]) -> int:
    """Do `act` for every argument; the failures are told and do not stop the others. The exit status."""
    status = 0
    for place, argument in enumerate(invocation.arguments):
        try:
            await act(argument, invocation.asked(place))
        except LadingError as error:
            await invocation.warn(lines(error))
            status = 1
    return status


async def fulfil(invocation: Invocation, wish: Command) -> int:
    """Carry out one wish for every container that is named, and say its name again. The exit status."""

    async def act(name: str, who: Caller) -> None:
        await invocation.engine.execute(await invocation.engine.resolve(name), wish, who)
        await invocation.echo(name)

    return await each(invocation, act)
