"""Lists of objects in every form of `--format`: table, `table …`, raw, json, and a template per object.

A list is described by its fields: name, header and how the value comes from one object. Values are exact; they become
safe for a terminal when they are printed.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain.text.safe import safe, safe_json
from domain.text.table import render, width
from domain.text.template.apply import parse
from domain.text.template.values import Trusted

T = TypeVar("T")


@dataclass(frozen=True)  # no slots: with them, Field[X](…) fails in Python 3.11
class Field(Generic[T]):
    """One field: `header` in tables, `value` for one object."""

    header: str
    value: Callable[[T], str]


@dataclass(frozen=True)
class Shape(Generic[T]):
    """How a list looks. `table` is the default table, of which `spare` are the titles of columns that are left out, in
    this order, where a terminal is too narrow; `raw` the keys and fields of the raw form; `label` answers
    `.Label "key"`."""

    fields: Mapping[str, Field[T]]
    table: tuple[Field[T], ...]
    raw: tuple[tuple[str, str], ...] = ()
    label: Callable[[T, str], str] | None = None
    spare: tuple[str, ...] = ()

    def render(self, rows: Sequence[T], form: str, *, columns: int = 0) -> str:
        """The whole list; `form` is the value of `--format` (empty: the table), `columns` the width of the terminal,
        0 for none. Raises TemplateError."""
        form = form.strip(" ")
        if form in ("", "table"):
            return self._fitting(rows, columns)
        if form == "json":
            return "".join(safe_json(_Row(self, row).data()) + "\n" for row in rows)
        if form == "raw" and self.raw:
            return "".join(self._raw(row) for row in rows)
        return self._template(rows, form)

    def _fitting(self, rows: Sequence[T], columns: int) -> str:
        """The table without the columns that can be spared, as far as the terminal is too narrow for them."""
        spared: tuple[str, ...] = ()
        text = self._table(rows, spared)
        for title in self.spare if columns else ():
            if max(width(line) for line in text.splitlines()) <= columns:
                break
            spared = (*spared, title)
            text = self._table(rows, spared)
        return text

    def _table(self, rows: Sequence[T], spared: tuple[str, ...]) -> str:
        fields = [field for field in self.table if field.header not in spared]
        header = [field.header for field in fields]
        return render([header, *([safe(field.value(row)) for field in fields] for row in rows)])

    def _raw(self, row: T) -> str:
        return "".join(f"{key}: {safe(self.fields[name].value(row))}".rstrip() + "\n" for key, name in self.raw) + "\n"

    def _template(self, rows: Sequence[T], form: str) -> str:
        as_table = form.startswith("table ")
        text = form.removeprefix("table ").strip(" ") if as_table else form
        template = parse(text.replace("\\t", "\t").replace("\\n", "\n"))
        lines = [template.render(_Row(self, row)) for row in rows]
        if not as_table:
            return "".join(line + "\n" for line in lines)
        header = template.render(_Header(self))
        return render([line.split("\t") for line in (header, *lines)])


class _Row(Generic[T]):
    """One object as a template sees it."""

    def __init__(self, shape: Shape[T], row: T) -> None:
        self._shape, self._row = shape, row

    def field(self, name: str) -> object:
        """A value, or the method `Label`."""
        if name == "Label" and self._shape.label is not None:
            return self._label
        return self._shape.fields[name].value(self._row)

    def data(self) -> object:
        """All fields, sorted by name."""
        return {name: self._shape.fields[name].value(self._row) for name in sorted(self._shape.fields)}

    def _label(self, key: str) -> str:
        assert self._shape.label is not None
        return self._shape.label(self._row, key)


class _Header(Generic[T]):
    """The header's row: the same template, applied to the fields' titles."""

    def __init__(self, shape: Shape[T]) -> None:
        self._shape = shape

    def field(self, name: str) -> object:
        """The title of a field."""
        if name == "Label" and self._shape.label is not None:
            return _label_title
        return Trusted(self._shape.fields[name].header)

    def data(self) -> object:
        """All titles."""
        return {name: self._shape.fields[name].header for name in sorted(self._shape.fields)}


def _label_title(key: str) -> str:
    """`com.example.some-key` is titled `some key`, as the industry's CLI does it."""
    return key.rpartition(".")[2].replace("-", " ").replace("_", " ")
