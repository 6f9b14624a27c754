"""The way in: argv → verb → exit status. It finds the verb, reads its options, and turns errors into text.

Its `except Exception` is the outermost one of a call: a defect in a verb becomes one line and a log entry, and the
daemon goes on.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from domain.errors import LadingError
from domain.options import Option, OptionError, Parsed, UnsupportedError, flag, nearest, parse, refused
from domain.text.safe import safe
from workers.accesses import Reading
from workers.console import help as texts
from workers.console.call import Call
from workers.console.commands import LATER, NOUNS, VERBS
from workers.console.engine import Engine
from workers.console.errors import UNREADABLE, ArgumentCount, lines, status_of
from workers.console.verb import Invocation, Verb

log = logging.getLogger(__name__)

GLOBAL = (
    flag("debug", "D", "Tell more about an error"),
    flag("help", "", "Print this help"),
    flag("version", "v", "Print the version"),
    *refused("--config= -c/--context= -H/--host= -l/--log-level= --tls --tlscacert= --tlscert= --tlskey= --tlsverify"),
)
_CLIENTS_OWN = {"daemon": "Start, stop, and ask for the daemon"}
"""What the client answers without the daemon."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A verb as it was spelled, and the words that follow."""

    verb: Verb
    spelling: str
    words: tuple[str, ...]
    preset: dict[str, str]
    debug: bool = False


async def dispatch(call: Call, engine: Engine, now: Callable[[], int] = time.time_ns) -> int:
    """Answer one command line; the exit status. `now` gives nanoseconds since the epoch."""
    try:
        before = parse(GLOBAL, call.argv, interspersed=False)
    except UnsupportedError as error:
        return await _fail(call, lines(error), UNREADABLE)
    except OptionError as error:
        return await _fail(call, f"{lines(error)}\n\n{_usage_line()}", UNREADABLE)
    if before.flag("version"):
        return await _print(call, f"lading version {engine.version}\n")
    if before.flag("help"):
        return await _print(call, _main_help())
    if not before.arguments:
        await call.err(_main_help().encode())
        return 0
    return await _verb(call, engine, before, now)


async def _verb(call: Call, engine: Engine, before: Parsed, now: Callable[[], int]) -> int:
    found = _find(before.arguments)
    if isinstance(found, _Found):
        found = replace(found, debug=before.flag("debug"))
        return await _invoke(call, engine, found, now)
    text, status, failed = found
    if failed:
        return await _fail(call, text, status)
    return await _print(call, text)


def _find(words: Sequence[str]) -> "_Found | tuple[str, int, bool]":
    """The verb, or a text with a status and whether it is meant for stderr."""
    first, rest = words[0], tuple(words[1:])
    if first == "help":
        return _help(rest)
    if first in NOUNS:
        return _find_below(first, rest)
    verb = VERBS.get(first)
    if verb is not None:
        return _Found(verb, first, rest, {})
    if first in LATER:
        return f"lading {first} is not supported by this version of lading", 1, True
    return _unknown(first, "", [name for name in (*VERBS, *NOUNS, "help")])


def _find_below(noun: str, words: tuple[str, ...]) -> "_Found | tuple[str, int, bool]":
    summary, verbs, preset = NOUNS[noun]
    text = texts.of_noun(noun, summary, verbs)
    if not words:
        return text, 0, True
    if words[0] in ("--help", "-h", "help"):
        return text, 0, False
    verb = verbs.get(words[0])
    if verb is not None:
        return _Found(verb, f"{noun} {words[0]}", words[1:], preset)
    if f"{noun} {words[0]}" in LATER:
        return f"lading {noun} {safe(words[0])} is not supported by this version of lading", 1, True
    return _unknown(words[0], f"{noun} ", list(verbs))


def _unknown(word: str, before: str, names: list[str]) -> tuple[str, int, bool]:
    guess = nearest(word, names)
    if not guess and word.startswith("-"):
        return f"unknown flag: {safe(word)}\n\n{texts.more(before.strip())}", UNREADABLE, True
    asked = f"\n{guess.replace('mean ', f'mean lading {before}')}" if guess else ""
    return (
        f"unknown command: lading {before}{safe(word)}{asked}\n\n{texts.more(before.strip()).replace('  ', ' ')}",
        1,
        True,
    )


def _help(words: tuple[str, ...]) -> "_Found | tuple[str, int, bool]":
    if not words or words[0].startswith("-"):
        return _main_help(), 0, False
    found = _find(words)
    if not isinstance(found, _Found):
        return (found[0], 0, False) if found[1] == 0 else found
    return texts.of_verb(found.verb, found.spelling), 0, False


async def _invoke(call: Call, engine: Engine, found: _Found, now: Callable[[], int]) -> int:
    verb = found.verb
    try:
        options = parse(_table(verb), found.words, interspersed=verb.interspersed)
        if options.flag("help"):
            return await _print(call, texts.of_verb(verb, found.spelling))
        _check_count(verb, found.spelling, len(options.arguments))
        options = options.legible(files=verb.files, paths=verb.paths)
        reading = Reading(engine.accesses, call.who.actor, verb.reads)
        invocation = Invocation(verb, found.spelling, call, engine, options, now, reading, found.preset)
        with reading.noted():
            return await verb.run(invocation)
    except LadingError as error:
        return await _fail(call, _told(error, found) + (_chain(error) if found.debug else ""), status_of(error, verb))
    except Exception as error:
        log.exception("lading %s failed", found.spelling)
        text = f"lading: internal error in {found.spelling}: {type(error).__name__}: {safe(str(error))}"
        return await _fail(call, text + (_chain(error) if found.debug else ""), verb.refusal)


def _table(verb: Verb) -> tuple[Option, ...]:
    taken = {option.short for option in verb.options}
    return (*verb.options, flag("help", "" if "h" in taken else "h"))


def _check_count(verb: Verb, spelling: str, count: int) -> None:
    if verb.most is not None and verb.most == verb.least != count:
        raise ArgumentCount(f"'lading {spelling}' {_requires(verb.most)}")
    if count < verb.least:
        raise ArgumentCount(f"'lading {spelling}' requires at least {_arguments(verb.least)}")
    if verb.most is not None and count > verb.most:
        limit = f"accepts at most {_arguments(verb.most)}" if verb.most else "accepts no arguments"
        raise ArgumentCount(f"'lading {spelling}' {limit}")


def _requires(count: int) -> str:
    return f"requires {_arguments(count)}" if count else "accepts no arguments"


def _arguments(count: int) -> str:
    return f"{count} argument" if count == 1 else f"{count} arguments"


def _told(error: LadingError, found: _Found) -> str:
    """One to three lines, and for a command line that cannot be read also its usage."""
    if isinstance(error, UnsupportedError):
        return lines(error)
    if isinstance(error, OptionError | ArgumentCount):
        return f"{lines(error)}\n\n{texts.usage(found.verb, found.spelling)}\n\n{texts.more(found.spelling)}"
    if found.verb.refusal == UNREADABLE:
        return f"lading: {lines(error)}\n\n{texts.more(found.spelling)}"
    return lines(error)


def _chain(error: BaseException) -> str:
    """What lies below an error, for `--debug`."""
    told: list[BaseException] = [error]
    while (below := told[-1].__cause__ or told[-1].__context__) is not None and below not in told:
        told.append(below)  # an error that is raised again can be its own cause
    return "".join(f"\n  because of {type(below).__name__}: {safe(str(below))}" for below in told[1:])


def _main_help() -> str:
    nouns = {noun: entry[0] for noun, entry in NOUNS.items()}
    return texts.of_program(dict.fromkeys(VERBS.values()), {**nouns, **_CLIENTS_OWN}, GLOBAL)


def _usage_line() -> str:
    return f"Usage:  {texts.PROGRAM} [OPTIONS] COMMAND\n\nRun '{texts.PROGRAM} --help' for more information"


async def _print(call: Call, text: str) -> int:
    await call.out(text.encode("utf-8", "backslashreplace"))
    return 0


async def _fail(call: Call, text: str, status: int) -> int:
    await call.err((text + "\n").encode("utf-8", "backslashreplace"))
    return status
