"""Who may say and hear what on the bus, as text for the embedded server's configuration.

Four roles belong to the engine; an operator may add users, each of which speaks only under its own name:

    daemon    everything
    proxy     asks for local clients, whose number the control socket puts in; hears their inboxes and the events
    worker    hears work, answers it and tells outcomes (`done`)
    reader    asks questions (`q`) and hears events

A user may publish `cmd` and `call` only if the operator trusts it like root: that is what these subjects amount to.
"""

from dataclasses import dataclass, field
from typing import Literal

from domain import subjects

Role = Literal["operator", "reader"]


@dataclass(frozen=True, slots=True)
class User:
    """A NATS user: its name is the `<who>` of what it asks. `password` may be a bcrypt hash."""

    name: str
    password: str = field(repr=False)
    role: Role = "reader"


def permissions(user: str, host: str, role: str) -> dict[str, dict[str, list[str]]]:
    """What the server lets `user` publish and subscribe to."""
    own = [f"{subjects.inbox(user)}.>"]
    events = [subjects.area(host, "ev")]
    asks = {area: subjects.area(host, area) for area in ("call", "cmd", "q", "io")}
    if role == "daemon":
        return {"publish": {"allow": [">"]}, "subscribe": {"allow": [">"]}}
    if role == "proxy":
        return {"publish": {"allow": list(asks.values())},
                "subscribe": {"allow": [f"{subjects.inbox('c0').rpartition('.')[0]}.>", *events]}}
    if role == "worker":
        return {"publish": {"allow": [subjects.area(host, "done"), f"{subjects.inbox('daemon')}.>"]},
                "subscribe": {"allow": [subjects.area(host, "work"), *own]}}
    areas = ("call", "cmd", "q", "io") if role == "operator" else ("q",)
    return {"publish": {"allow": [subject for area in areas for subject in _of(user, host, area)]},
            "subscribe": {"allow": [*events, *own]}}


def _of(user: str, host: str, area: str) -> list[str]:
    subject = subjects.area(host, area).removesuffix(">") + user
    return [subject] if area == "call" else [f"{subject}.>"]
