"""Rows of the report: what was measured, against what, and whether the target was met; as a table and as JSON.

    {"what": "run --rm IMAGE true", "unit": "ms", "ours": {"count": 30, "median": 27.9, "p10": 25.1, "p90": 33.0},
     "against": "docker", "theirs": {…}, "value": 0.1, "limit": 0.15, "at_most": true, "met": true, "note": ""}
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.samples import Summary, ratio, summary


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison. `value` is what is held against `limit`: a ratio, or ours itself; None if it was not measured."""

    what: str
    unit: str
    ours: Summary | None
    value: float | None = None
    limit: float | None = None
    at_most: bool = True
    against: str = ""
    theirs: Summary | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where nothing was promised or nothing measured."""
        if self.limit is None or self.value is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit


@dataclass(frozen=True, slots=True)
class Target:
    """The bound of a ratio to a contestant; no limit means that it is only shown."""

    against: str
    limit: float | None = None
    at_most: bool = True


def compare(
    what: str, unit: str, samples: Mapping[str, Summary | Sequence[float]], *targets: Target, note: str = ""
) -> list[Row]:
    """One row for each target; a contestant that was not measured is named as missing."""
    summaries = {name: found if isinstance(found, Summary) else summary(found) for name, found in samples.items()}
    ours = summaries["lading"]
    rows = []
    for target in targets:
        theirs = summaries.get(target.against)
        value = ratio(ours, theirs) if theirs else None
        remark = note if theirs else f"without {target.against}"
        rows.append(Row(what, unit, ours, value, target.limit, target.at_most, target.against, theirs, remark))
    return rows


def bound(what: str, unit: str, ours: Summary, limit: float | None, *, at_most: bool = True, note: str = "") -> Row:
    """Our own figure against an absolute limit."""
    return Row(what, unit, ours, ours.median, limit, at_most, note=note)


def table(rows: Sequence[Row]) -> str:
    """For a terminal."""
    lines = [("measured", "lading", "against", "ratio", "target", "")]
    lines += [_cells(row) for row in rows]
    widths = [max(len(line[column]) for line in lines) for column in range(6)]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([text[0], "─" * max(map(len, text)), *text[1:]])


def _cells(row: Row) -> tuple[str, str, str, str, str, str]:
    against = f"{row.against} {_spread(row.theirs, row.unit)}" if row.theirs else ""
    value = f"{row.value:.3g}" if row.value is not None and row.against else ""
    sign = "≤" if row.at_most else "≥"
    unit = "" if row.against else f" {row.unit}"
    target = f"{sign} {_number(row.limit)}{unit}" if row.limit is not None else ""
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    return row.what, _spread(row.ours, row.unit), against, value, target, " ".join(filter(None, (verdict, row.note)))


def _spread(found: Summary | None, unit: str) -> str:
    if found is None:
        return ""
    middle = f"{_number(found.median)} {unit}"
    return middle if found.count == 1 else f"{middle} ({_number(found.p10)} … {_number(found.p90)})"


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ") if abs(value) >= 1000 else f"{value:.3g}"


def document(rows: Sequence[Row], facts: Mapping[str, object]) -> str:
    """The report as JSON."""
    found = [{**asdict(row), "met": row.met} for row in rows]
    return json.dumps({**facts, "rows": found}, indent=1, ensure_ascii=False) + "\n"


def write(path: Path, rows: Sequence[Row], facts: Mapping[str, object]) -> None:
    """Write the JSON; the folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document(rows, facts), encoding="utf-8")


def missed(rows: Sequence[Row]) -> list[Row]:
    """The rows whose target was not met."""
    return [row for row in rows if row.met is False]
