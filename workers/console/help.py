"""Usage and help texts, made from the verbs' own tables; an option without effect cannot get into them."""

from collections.abc import Iterable, Mapping, Sequence

from domain.options import Option
from workers.console.verb import Example, Verb

PROGRAM = "lading"


def usage(verb: Verb, spelling: str = "") -> str:
    """`Usage:  lading rm [OPTIONS] CONTAINER [CONTAINER...]`."""
    tail = f" {verb.usage}" if verb.usage else ""
    return f"Usage:  {PROGRAM} {spelling or verb.name}{tail}"


def more(spelling: str) -> str:
    """The line that points to the help."""
    return f"Run '{PROGRAM} {spelling} --help' for more information"


def of_verb(verb: Verb, spelling: str = "") -> str:
    """The whole help of a verb."""
    parts = [usage(verb, spelling), verb.summary]
    if verb.also:
        names = sorted({verb.name, *verb.also}, key=lambda name: (-name.count(" "), name))
        parts.append("Aliases:\n  " + ", ".join(f"{PROGRAM} {name}" for name in names))
    shown = [option for option in verb.options if not option.hidden]
    if shown:
        parts.append("Options:\n" + _options(shown))
    if verb.notes:
        parts.append(verb.notes)
    parts.append("Examples:\n" + _examples(verb.examples))
    return "\n\n".join(parts) + "\n"


def _options(options: Iterable[Option]) -> str:
    ordered = sorted(options, key=lambda option: option.name)
    return _columns([(_left(option), _right(option)) for option in ordered])


def _left(option: Option) -> str:
    short = f"-{option.short}, " if option.short else "    "
    value = f" {option.value}" if option.takes_value else ""
    return f"{short}--{option.name}{value}"


def _right(option: Option) -> str:
    default = {"true": " (default true)"}.get(option.default, f" (default {option.default})" if option.default else "")
    return option.help + default


def _examples(examples: Sequence[Example]) -> str:
    return _columns([(example.command, example.meaning) for example in examples])


def _columns(pairs: Sequence[tuple[str, str]]) -> str:
    width = max(len(left) for left, _ in pairs) + 3
    return "\n".join(f"  {left.ljust(width)}{right}".rstrip() for left, right in pairs)


def of_noun(noun: str, summary: str, verbs: Mapping[str, Verb]) -> str:
    """The help of `container`, `image` or `system`: its subcommands."""
    pairs = [(name, verb.summary) for name, verb in sorted(verbs.items())]
    return (
        "\n\n".join(
            (
                f"Usage:  {PROGRAM} {noun} COMMAND",
                summary,
                "Commands:\n" + _columns(pairs),
                f"Run '{PROGRAM} {noun} COMMAND --help' for more information on a command.",
            )
        )
        + "\n"
    )


def of_program(verbs: Iterable[Verb], nouns: Mapping[str, str], options: Iterable[Option]) -> str:
    """The help of `lading` itself."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for verb in verbs:
        groups.setdefault(verb.group, []).append((verb.name, verb.summary))
    parts = [
        f"Usage:  {PROGRAM} [OPTIONS] COMMAND",
        "An event-sourced container engine: it remembers what happened, when, why and who asked.",
    ]
    parts += [f"{title}:\n" + _columns(pairs) for title, pairs in groups.items()]
    parts.append("Management Commands:\n" + _columns(sorted(nouns.items())))
    parts.append("Global Options:\n" + _options([option for option in options if not option.hidden]))
    parts.append(f"Run '{PROGRAM} COMMAND --help' for more information on a command.")
    return "\n\n".join(parts) + "\n"
