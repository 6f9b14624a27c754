"""The subset of Go's text/template that `--format` takes: pipelines, fields, variables, if, with, range, functions.

    render("{{.Name}}: {{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}{{json .State}}", document)

Data are dicts, lists, str, int, float, bool and None; an object that has a `field(name)` method answers for itself
(a method of it is a callable). Every string that comes out of the data is made safe for a terminal when it is printed,
or before a function joins it with other text; what the template's author wrote is printed as written.

Not here: define, template, block.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.text.safe import safe, safe_block
from domain.text.template import tree
from domain.text.template.functions import FUNCTIONS
from domain.text.template.reader import read
from domain.text.template.tree import Branch, Chain, Leave, Literal, Name, Node, Operand, Pipe, Print, Text
from domain.text.template.values import Fields, TemplateError, printed, truth, type_name

MAXIMUM_OUTPUT = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Template:
    """A template that was read."""

    nodes: tuple[Node, ...]

    def render(self, data: object, *, lines: bool = False) -> str:
        """The text for `data`; with `lines`, line feeds and tabs in the data are printed as they are."""
        run = _Run(data, safe_block if lines else safe)
        try:
            run.nodes(self.nodes, data)
        except RecursionError:
            raise TemplateError("template: the data are nested too deeply") from None
        return "".join(run.out)

    def fields(self) -> tuple[tuple[str, ...], ...]:
        """Every chain of fields that starts at the dot, in the order of the text."""
        return tuple(tree.fields(self.nodes))

    def cells(self) -> "tuple[Template, ...]":
        """The parts between the tabs of the text on the top level: the columns of a table."""
        columns: list[list[Node]] = [[]]
        for node in self.nodes:
            if not isinstance(node, Text):
                columns[-1].append(node)
                continue
            first, *more = node.text.split("\t")
            columns[-1].append(Text(first))
            columns.extend([Text(part)] for part in more)
        return tuple(Template(tuple(column)) for column in columns)


def parse(text: str) -> Template:
    """Read a template. Raises TemplateError with the place."""
    return Template(read(text))


def render(text: str, data: object, *, lines: bool = False) -> str:
    """Read and apply in one step."""
    return parse(text).render(data, lines=lines)


class _LeaveRangeError(Exception):
    """`break` or `continue` was reached."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


@dataclass
class _Run:
    """One application of a template to data."""

    root: object
    escape: Callable[[str], str]
    out: list[str] = field(default_factory=list)
    size: int = 0
    scopes: list[dict[str, object]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scopes.append({"$": self.root})

    def nodes(self, nodes: Sequence[Node], dot: object) -> None:
        """Apply in a scope of its own."""
        self.scopes.append({})
        try:
            for node in nodes:
                self._node(node, dot)
        finally:
            self.scopes.pop()

    def _node(self, node: Node, dot: object) -> None:
        match node:
            case Text(text):
                self._write(text)
            case Print(pipe):
                value = self._pipe(pipe, dot)
                if not pipe.variables:
                    self._write(printed(value, self.escape))
            case Branch("range"):
                self._range(node, dot)
            case Branch():
                self._branch(node, dot)
            case Leave(word):
                raise _LeaveRangeError(word)

    def _write(self, text: str) -> None:
        self.size += len(text)
        if self.size > MAXIMUM_OUTPUT:
            raise TemplateError("template: the result is too large")
        self.out.append(text)

    def _branch(self, node: Branch, dot: object) -> None:
        self.scopes.append({})
        try:
            value = self._pipe(node.pipe, dot)
            if truth(value):
                self.nodes(node.then, value if node.word == "with" else dot)
            else:
                self.nodes(node.otherwise, dot)
        finally:
            self.scopes.pop()

    def _range(self, node: Branch, dot: object) -> None:
        pipe = Pipe(node.pipe.commands)
        pairs = _pairs(self._pipe(pipe, dot), node.at)
        if not pairs:
            self.nodes(node.otherwise, dot)
        for key, value in pairs:
            self.scopes.append(dict(zip(node.pipe.variables[::-1], (value, key), strict=False)))
            try:
                self.nodes(node.then, value)
            except _LeaveRangeError as leave:
                if leave.word == "break":
                    break
            finally:
                self.scopes.pop()

    def _pipe(self, pipe: Pipe, dot: object) -> object:
        extra: tuple[object, ...] = ()
        value: object = None
        for command in pipe.commands:
            value = self._command(command, dot, extra)
            extra = (value,)
        for name in pipe.variables:
            self._set(name, value, declare=pipe.declares)
        return value

    def _set(self, name: str, value: object, *, declare: bool) -> None:
        scope = self.scopes[-1] if declare else self._scope_of(name)
        scope[name] = value

    def _scope_of(self, name: str) -> dict[str, object]:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope
        raise TemplateError(f'template parsing error: template: undefined variable "{name}"')

    def _command(self, command: tuple[Operand, ...], dot: object, extra: tuple[object, ...]) -> object:
        first, rest = command[0], command[1:]
        if isinstance(first, Name):
            return self._call(first, rest, dot, extra)
        if isinstance(first, Chain) and first.names:
            return self._chain(first, dot, (*rest, *(Literal(value) for value in extra)))
        if rest or extra:
            raise TemplateError("template: can't give argument to non-function")
        return self._operand(first, dot)

    def _call(self, name: Name, operands: tuple[Operand, ...], dot: object, extra: tuple[object, ...]) -> object:
        if name.name in ("and", "or"):
            return self._shortcut(name.name == "and", operands, dot, extra)
        arguments = [self._operand(operand, dot) for operand in operands] + list(extra)
        try:
            return FUNCTIONS[name.name](self.escape, *arguments)
        except TemplateError as error:
            raise _failed(name.at, name.name, f"error calling {name.name}: {error.message}") from None
        except TypeError:
            raise _failed(name.at, name.name, f"wrong number or type of args for {name.name}") from None

    def _shortcut(
        self, conjunction: bool, operands: tuple[Operand, ...], dot: object, extra: tuple[object, ...]
    ) -> object:
        value: object = None
        for operand in (*operands, *(Literal(value) for value in extra)):
            value = self._operand(operand, dot)
            if truth(value) != conjunction:
                break
        return value

    def _operand(self, operand: Operand, dot: object) -> object:
        match operand:
            case Literal(value):
                return value
            case Chain():
                return self._chain(operand, dot, ())
            case Name():
                return self._call(operand, (), dot, ())
            case Pipe():
                return self._pipe(operand, dot)

    def _chain(self, chain: Chain, dot: object, arguments: tuple[Operand, ...]) -> object:
        if chain.start is None:
            value = dot
        elif isinstance(chain.start, str):
            value = self._scope_of(chain.start)[chain.start]
        else:
            value = self._pipe(chain.start, dot)
        for place, name in enumerate(chain.names, 1):
            last = arguments if place == len(chain.names) else ()
            value = self._field(value, name, chain, [self._operand(argument, dot) for argument in last])
        return value

    def _field(self, value: object, name: str, chain: Chain, arguments: list[object]) -> object:
        where = "." + ".".join(chain.names)
        found = _lookup(value, name, chain.at, where)
        if callable(found):
            try:
                return found(*arguments)
            except TypeError:
                raise _failed(chain.at, where, f"wrong number of args for {name}") from None
        if arguments:
            raise _failed(chain.at, where, f"{name} has arguments but cannot be invoked as function")
        return found


def _failed(at: int, where: str, why: str) -> TemplateError:
    return TemplateError(f'template parsing error: template: :1:{at}: executing "" at <{where}>: {why}')


def _lookup(value: object, name: str, at: int, where: str) -> object:
    if isinstance(value, Fields):
        try:
            return value.field(name)
        except KeyError:
            raise _failed(at, where, f"can't evaluate field {name}") from None
    if isinstance(value, Mapping):
        if name not in value:
            raise _failed(at, where, f'map has no entry for key "{name}"')
        return value[name]
    if value is None:
        raise _failed(at, where, f"nil data; no entry for key {safe(name)!r}")
    raise _failed(at, where, f"can't evaluate field {name} in type {type_name(value)}")


def _pairs(value: object, at: int) -> list[tuple[object, object]]:
    if value is None:
        return []
    if isinstance(value, Mapping):
        return sorted(value.items(), key=lambda pair: str(pair[0]))
    if isinstance(value, list | tuple):
        return list(enumerate(value))
    if isinstance(value, int) and not isinstance(value, bool):
        return [(number, number) for number in range(min(value, 100_000))]
    raise _failed(at, "range", f"range can't iterate over {safe(str(value))}")
