"""What a template consists of once it was read."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Literal:
    """A string, number, truth value or nil."""

    value: object


@dataclass(frozen=True, slots=True)
class Chain:
    """Fields below a start: the dot (None), a variable (`$x`) or a parenthesis."""

    start: "str | Pipe | None"
    names: tuple[str, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Name:
    """A function."""

    name: str
    at: int


Operand: TypeAlias = "Literal | Chain | Name | Pipe"


@dataclass(frozen=True, slots=True)
class Pipe:
    """Commands joined by `|`; the result may go into variables (`:=` declares, `=` assigns)."""

    commands: tuple[tuple[Operand, ...], ...]
    variables: tuple[str, ...] = ()
    declares: bool = True


@dataclass(frozen=True, slots=True)
class Text:
    """Text between actions."""

    text: str


@dataclass(frozen=True, slots=True)
class Print:
    """`{{pipeline}}`."""

    pipe: Pipe


@dataclass(frozen=True, slots=True)
class Branch:
    """`if`, `with` or `range`."""

    word: str
    pipe: Pipe
    then: "tuple[Node, ...]"
    otherwise: "tuple[Node, ...]"
    at: int


@dataclass(frozen=True, slots=True)
class Leave:
    """`break` or `continue`."""

    word: str


Node: TypeAlias = "Text | Print | Branch | Leave"


def fields(nodes: Sequence[Node]) -> Iterator[tuple[str, ...]]:
    """Every chain of fields that starts at the dot, in the order of the text."""
    for node in nodes:
        if isinstance(node, Print):
            yield from _pipe_fields(node.pipe)
        elif isinstance(node, Branch):
            yield from _pipe_fields(node.pipe)
            yield from fields(node.then)
            yield from fields(node.otherwise)


def _pipe_fields(pipe: Pipe) -> Iterator[tuple[str, ...]]:
    for command in pipe.commands:
        for operand in command:
            if isinstance(operand, Pipe):
                yield from _pipe_fields(operand)
            elif isinstance(operand, Chain):
                if isinstance(operand.start, Pipe):
                    yield from _pipe_fields(operand.start)
                elif operand.start is None and operand.names:
                    yield operand.names
