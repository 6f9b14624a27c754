"""What can stand where on a command line, as rows that the scripts of all shells read alike.

A row is `NAME TAB KIND TAB TEXT`, and never has an empty field. Its name is an `--option`, an `-o`, a subcommand, `1`
for the first argument (and so on), `*` for all further ones, or `.` when options end with the first argument. Kinds,
several joined by `+`:

    verb               a subcommand
    flag               an option without a value
    =a,b               one of these words
    containers running paused stopped images networks volumes    the name of one of these
    copies             the name of a container with a colon behind it
    files directories  paths of the client
    host               a daemon elsewhere: it is asked for the names that follow
    text               anything
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from domain.options import FILE, Option
from domain.runtime import capabilities
from domain.signals import NUMBERS
from domain.spec import HealthAction, LogDriver, RestartName
from workers.console.verb import Verb

Nouns = Mapping[str, tuple[str, Mapping[str, Verb], Mapping[str, str]]]
"""Nouns as in `workers.console.commands`: what they are about, their verbs, and what these are told besides."""


@dataclass(frozen=True, slots=True)
class Page:
    """The rows for all that can follow one of these spellings; `""` is the program itself."""

    spellings: tuple[str, ...]
    rows: tuple[str, ...]


def _words(*words: str) -> str:
    return "=" + ",".join(words)


_SIGNALS = _words(*(name for name in NUMBERS if not name.startswith("RT")))
_CAPABILITIES = _words("ALL", *capabilities.NUMBERS)
_OPTIONS: Mapping[str, str] = {
    "attach": _words("stdin", "stdout", "stderr"),
    "cache-from": "images",
    "cap-add": _CAPABILITIES,
    "cap-drop": _CAPABILITIES,
    "access": _words("none", "only"),
    "cgroupns": _words("host", "private"),
    "device": "files",
    "health-action": _words(*get_args(HealthAction)),
    "ipc": _words("host", "none", "private", "shareable"),
    "link": "containers",
    "log-driver": _words(*get_args(LogDriver)),
    "network": "networks",
    "pid": _words("host"),
    "progress": _words("auto", "plain", "quiet"),
    "pull": _words("always", "missing", "never"),
    "restart": _words(*get_args(RestartName)),
    "signal": _SIGNALS,
    "stop-signal": _SIGNALS,
    "type": _words("container", "image", "network", "volume"),
    "userns": _words("host", "remap"),
    "uts": _words("host"),
    "volume": "volumes+directories",
    "volumes-from": "containers",
}
"""What the values of an option are, unless they are files or anything."""
_PLACES: Mapping[str, str] = {
    "CONTAINER": "containers",
    "FILE|-": "files",
    "IMAGE": "images",
    "NAME|ID": "containers+images",
    "NAME[:TAG]": "images",
    "NAME[:TAG|@DIGEST]": "images",
    "NETWORK": "networks",
    "PATH|URL|-": "directories",
    "REPOSITORY[:TAG]": "images",
    "SHELL": _words("bash", "fish", "zsh"),
    "SOURCE_IMAGE[:TAG]": "images",
    "TARGET_IMAGE[:TAG]": "images",
    "VOLUME": "volumes",
    "[CONTAINER:]DEST_PATH|-": "copies+files",
    "[CONTAINER:]SRC_PATH|-": "copies+files",
}
"""What the places in a verb's usage stand for; others are for anything."""
_CONTAINERS: Mapping[str, str] = {
    **dict.fromkeys(("attach", "exec", "kill", "pause", "port", "stats", "stop", "top"), "running"),
    "start": "stopped",
    "unpause": "paused",
}
"""Verbs that make sense for some containers only."""
_AUDIT = _words("address", "build", "cache", "host", "image", "network", "verify", "volume")
_HELP = Option("help", "", "Print this help")
_GLOBAL = (
    Option("host", "H", "Ask the daemon of another host", "one", "host"),
    Option("debug", "D", "Tell more about an error"),
    _HELP,
    Option("version", "v", "Print the version"),
)
_DAEMON = {
    "start": "Start it, unless it runs already",
    "status": "Say whether it runs",
    "stop": "Stop it; containers run on",
}
"""What the client does by itself."""
_REBUILD = (Option("rebuild", "", "Make every table anew that is made from the log"),)
_CLEAN = (Option("clean", "", "Take away what its networks have made, if no container is on any"),)


def pages(verbs: Mapping[str, Verb], nouns: Nouns) -> Sequence[Page]:
    """Everything that can be typed."""
    top = {
        **_summaries(verbs),
        **{name: summary for name, (summary, _, _) in nouns.items()},
        "daemon": "Start, stop, and ask for the daemon",
        "help": "Print the help of a command",
    }
    return (
        Page(("",), (*_subcommands(top), *_options(_GLOBAL))),
        Page(("help",), tuple(_subcommands(top))),
        Page(("daemon",), tuple(_subcommands(_DAEMON))),
        Page(("daemon start",), tuple(_options(_REBUILD))),
        Page(("daemon stop",), tuple(_options(_CLEAN))),
        *(Page((noun,), tuple(_subcommands(_summaries(below)))) for noun, (_, below, _) in nouns.items()),
        *_of_verbs(verbs, nouns),
    )


def _summaries(verbs: Mapping[str, Verb]) -> Mapping[str, str]:
    return {name: verb.summary for name, verb in verbs.items()}


def _of_verbs(verbs: Mapping[str, Verb], nouns: Nouns) -> Iterator[Page]:
    spelled: dict[int, tuple[Verb, list[str]]] = {}
    for name, verb in verbs.items():
        spelled.setdefault(id(verb), (verb, []))[1].append(name)
    for noun, (_, below, _) in nouns.items():
        for name, verb in below.items():
            spelled.setdefault(id(verb), (verb, []))[1].append(f"{noun} {name}")
    for verb, spellings in spelled.values():
        yield Page(tuple(spellings), (*_arguments(verb), *_options((*verb.options, _HELP))))


def _subcommands(texts: Mapping[str, str]) -> Iterator[str]:
    return (_row(name, "verb", text) for name, text in sorted(texts.items()))


def _options(options: Iterable[Option]) -> Iterator[str]:
    shown = {option.name: option for option in options if not option.refused}
    for option in shown.values():
        meant = shown.get(option.same_as, option)
        for name in (f"--{option.name}", f"-{option.short}" if option.short else ""):
            if name:
                # Other spellings are understood, but not offered: the text of their rows says so.
                yield _row(name, _value(meant), "(hidden)" if option.hidden else meant.help)


def _value(option: Option) -> str:
    if not option.takes_value:
        return "flag"
    if option.value in (FILE, "host"):
        return "files" if option.value == FILE else "host"
    return _OPTIONS.get(option.name, "text")


def _arguments(verb: Verb) -> Iterator[str]:
    places = [word for word in verb.usage.removeprefix("[OPTIONS]").split() if word != "[OPTIONS]"]
    kinds = [_AUDIT + "+containers" if verb.name == "audit" else _place(verb, word) for word in places]
    repeated = bool(places) and places[-1].endswith("...]")
    for number, kind in enumerate(kinds[:1] if verb.name == "audit" else kinds, 1):
        yield _row("*" if repeated and number == len(kinds) else str(number), kind, "-")
    if not verb.interspersed:
        yield _row(".", "-", "-")


def _place(verb: Verb, word: str) -> str:
    bare = word.removesuffix("...]").removeprefix("[") if word.endswith("...]") else word
    bare = bare if bare in _PLACES else bare.removeprefix("[").removesuffix("]")
    kind = _PLACES.get(bare, "text")
    return _CONTAINERS.get(verb.name, kind) if kind == "containers" else kind


def _row(name: str, kind: str, text: str) -> str:
    return f"{name}\t{kind}\t{text or '-'}"
