"""The book of stored events: the shape of every event that was ever written, by stored name.

`python -m tests.house.stored_events NAME` (`make event NAME=…`) enters a new event, or an addition to a known one. It
refuses everything else, because somebody's log already holds events of the old shape: a field that vanished, changed
its type or became required needs a new name (`.vN+1`) and an upcaster. The file looks like this:

    {"paused.v1": {"fields": {…}, "sealed": []}}
"""

import importlib
import json
import pkgutil
import sys
from pathlib import Path

import domain
from domain.messages import Event, event_types

BOOK = Path(__file__).with_name("stored_events.json")

Shape = dict[str, object]


def known_events() -> dict[str, type[Event]]:
    """Every event class of the domain, found by importing all of it."""
    for module in pkgutil.walk_packages(domain.__path__, "domain."):
        importlib.import_module(module.name)
    return {name: event for name, event in event_types().items() if event.__module__.startswith("domain.")}


def shape(event: type[Event]) -> Shape:
    """What of the class decides about stored bytes: the JSON schema without its prose, and the sealed fields."""
    return {"fields": _bare(event.model_json_schema(mode="serialization")), "sealed": sorted(event.sealed)}


def _bare(schema: object) -> object:
    if isinstance(schema, dict):
        kept = {key: _bare(value) for key, value in schema.items()}
        return {key: value for key, value in kept.items()
                if not (key in ("title", "description") and isinstance(value, str))}
    return [_bare(item) for item in schema] if isinstance(schema, list) else schema


def book() -> dict[str, Shape]:
    """What was entered so far."""
    entered: dict[str, Shape] = json.loads(BOOK.read_text(encoding="utf-8"))
    return entered


def breaks(old: object, new: object, path: str = "") -> list[str]:
    """How stored bytes of the old shape would not fit the new one; a new field with a default breaks nothing."""
    if isinstance(old, dict) and isinstance(new, dict):
        return _breaks_of_object(old, new, path)
    return [] if old == new else [f"{path or 'shape'}: {json.dumps(old)} became {json.dumps(new)}"]


def _breaks_of_object(old: Shape, new: Shape, path: str) -> list[str]:
    here = path or "shape"
    found = [f"{here}: {key} is gone" for key in sorted(old.keys() - new.keys() - {"required"})]
    for key in sorted(old.keys() & new.keys() - {"required"}):
        found += breaks(old[key], new[key], f"{path}.{key}" if path else key)
    found += [f"{here}: {name} is required now" for name in sorted(_required(new) - _required(old))]
    if not path.endswith(("properties", "$defs")):  # in those two the keys are names of fields and models
        found += [f"{here}: {key} is new" for key in sorted(new.keys() - old.keys() - {"required", "default", "$defs"})]
    return found


def _required(schema: Shape) -> set[str]:
    names = schema.get("required", [])
    return {str(name) for name in names} if isinstance(names, list) else set()


def enter(name: str) -> str:
    """Write the shape of `name` into the book; returns why not, or nothing."""
    events = known_events()
    if name not in events:
        return f"no event is stored as {name}; known: {', '.join(sorted(events))}"
    entered = book()
    if name in entered and (found := breaks(entered[name], shape(events[name]))):
        return "\n".join([f"{name} was already stored in another shape; give the new one a new name:", *found])
    entered[name] = shape(events[name])
    BOOK.write_text(json.dumps(entered, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return ""


if __name__ == "__main__":
    refusals = [refusal for name in sys.argv[1:] if (refusal := enter(name))]
    sys.stderr.write("".join(f"{refusal}\n" for refusal in refusals))
    sys.exit(1 if refusals or len(sys.argv) < 2 else 0)
