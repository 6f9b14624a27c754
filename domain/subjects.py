"""Names on the bus: who may ask what, where events are heard, where answers go. Standard library only.

    lading.<host>.call.<who>                     console: argv, a streaming answer
    lading.<host>.cmd.<who>.<verb>               a wish of a program, answered once
    lading.<host>.q.<who>.<view>                 a question of a program, answered once
    lading.<host>.io.<who>.<session>             client to daemon during a call
    lading.<host>.work.<intent>                  daemon to workers
    lading.<host>.done.<position>                workers to daemon: the outcome
    lading.<host>.ev.<kind>.<key>.<event>        what happened, after it was stored
    _INBOX.<user>.…   _INBOX.local.c<n>.…        answers; each user hears only its own

`<who>` is proven, never claimed: a NATS user may publish only under its own name, and `c<n>` is put in by the control
socket, whose clients write `@` for host and who (`lading.@.call.@`). `stamp…` is that replacement and its only rule
book: what it answers None to is refused.
"""

MARK = "@"
LOCAL = "local"
RESERVED_USERS = frozenset({"daemon", "proxy", "worker", "reader", LOCAL})
_ROOT = "lading"
_INBOX = "_INBOX"
_PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-:")
_ASKED_BY_WHO = {"call": 4, "cmd": 5, "q": 5, "io": 5}
"""Areas that carry a `<who>`, with the number of tokens of their subjects."""


def escape(text: str) -> str:
    """Any text as one token: what is not plain becomes `=` and two hex digits a byte, so `a.b/c:1` is `a=2Eb=2Fc:1`."""
    if text and _PLAIN.issuperset(text):
        return text
    return "".join(chr(b) if chr(b) in _PLAIN else f"={b:02X}" for b in text.encode("utf-8", "surrogateescape")) or "="


def unescape(token: str) -> str:
    """The text behind `escape`. Raises ValueError."""
    head, *rest = token.split("=")
    if not head and rest == [""]:
        return ""
    found = bytearray(head.encode())
    for part in rest:
        found += bytes.fromhex(part[:2]) + part[2:].encode()
    return found.decode("utf-8", "surrogateescape")


def is_user(name: str) -> bool:
    """Whether an operator may call a NATS user so: one plain token that no part of the engine uses and no local client
    can get."""
    return 0 < len(name) <= 64 and _PLAIN.issuperset(name) and name not in RESERVED_USERS and not is_local(name)


def is_local(who: str) -> bool:
    """Whether `who` is a number given by the control socket."""
    return who[:1] == "c" and who[1:].isascii() and who[1:].isdigit()


def call(host: str, who: str) -> str:
    """Where a client of the console puts its argv."""
    return f"{_ROOT}.{escape(host)}.call.{who}"


def command(host: str, who: str, verb: str) -> str:
    """Where a program puts a wish."""
    return f"{_ROOT}.{escape(host)}.cmd.{who}.{verb}"


def query(host: str, who: str, view: str) -> str:
    """Where a program puts a question."""
    return f"{_ROOT}.{escape(host)}.q.{who}.{view}"


def io(host: str, who: str, session: str) -> str:
    """Where a client of the console puts what belongs to a call that runs."""
    return f"{_ROOT}.{escape(host)}.io.{who}.{session}"


def work(host: str, intent: str) -> str:
    """Where the daemon puts work; `intent` is a stored name, `.vN` is cut off."""
    return f"{_ROOT}.{escape(host)}.work.{_unversioned(intent)}"


def done(host: str, position: str) -> str:
    """Where a worker puts the outcome of the intent at a position of the log (`*`: of any)."""
    return f"{_ROOT}.{escape(host)}.done.{position}"


def event(host: str, kind: str, key: str, stored_as: str) -> str:
    """Where an event is told after it was stored; `.vN` is cut off."""
    return f"{_ROOT}.{escape(host)}.ev.{kind}.{escape(key)}.{_unversioned(stored_as)}"


def inbox(who: str) -> str:
    """Below this `who` hears answers: it may subscribe there and nobody else."""
    return f"{_INBOX}.{LOCAL}.{who}" if is_local(who) else f"{_INBOX}.{who}"


def area(host: str, name: str) -> str:
    """A pattern for everything of one area (`call`, `cmd`, `q`, `io`, `work`, `ev`) of a host."""
    return f"{_ROOT}.{escape(host)}.{name}.>"


def split(subject: str) -> tuple[str, str, tuple[str, ...]]:
    """A subject as (host, area, the rest). Raises ValueError."""
    match subject.split("."):
        case [root, host, name, *rest] if root == _ROOT and rest:
            return unescape(host), name, tuple(rest)
    raise ValueError(f"{subject!r} is not a subject of the engine")


def who(subject: str) -> str:
    """Who asks on a `call`, `cmd`, `q` or `io` subject; empty on others."""
    tokens = subject.split(".")
    return tokens[3] if len(tokens) > 3 and tokens[0] == _ROOT and tokens[2] in _ASKED_BY_WHO else ""


def session(subject: str) -> str:
    """The session of an `io` subject; empty on others."""
    tokens = subject.split(".")
    return tokens[4] if len(tokens) == 5 and tokens[0] == _ROOT and tokens[2] == "io" else ""


def answers_to(reply: str, asker: str) -> bool:
    """Whether `reply` lies in the inbox of `asker`. Anything else would let a client make the daemon, which may publish
    everywhere, speak on a subject of its choice."""
    return reply.startswith(inbox(asker) + ".") and is_subject(reply)


def stamp_publish(subject: str, host: str, number: str) -> str | None:
    """The subject a local client's message really goes to, or None: it may only ask, and only as itself."""
    tokens = subject.split(".")
    if len(tokens) < 4 or tokens[0] != _ROOT or tokens[1] != MARK or tokens[3] != MARK:
        return None
    if _ASKED_BY_WHO.get(tokens[2]) != len(tokens):
        return None
    tokens[1], tokens[3] = escape(host), number
    stamped = ".".join(tokens)
    return stamped if is_subject(stamped) else None


def stamp_subscribe(subject: str, host: str, number: str) -> str | None:
    """The pattern a local client really hears, or None: its own inbox, and the events of this host."""
    events = f"{_ROOT}.{MARK}.ev."
    if subject.startswith(events):
        stamped = f"{_ROOT}.{escape(host)}.ev.{subject[len(events) :]}"
        return stamped if is_pattern(stamped) else None
    return stamp_inbox(subject, number, pattern=True)


def stamp_inbox(subject: str, number: str, *, pattern: bool = False) -> str | None:
    """A subject in the client's own inbox (`_INBOX.@.…`, or with its number already in place), or None."""
    own, marked = inbox(number) + ".", f"{_INBOX}.{MARK}."
    stamped = own + subject[len(marked) :] if subject.startswith(marked) else subject
    fits = is_pattern(stamped) if pattern else is_subject(stamped)
    return stamped if stamped.startswith(own) and fits else None


def is_subject(subject: str) -> bool:
    """Whether one can publish there: tokens without white space, control characters or wildcards."""
    return all(_is_token(token) and not {"*", ">"} & set(token) for token in subject.split("."))


def is_pattern(subject: str) -> bool:
    """Whether one can subscribe to it: `*` stands for one token, `>` at the end for one or more."""
    *front, last = subject.split(".")
    return all(_is_token(token) and (token == "*" or not {"*", ">"} & set(token)) for token in front) and (
        last in ("*", ">") or is_subject(last)
    )


def matches(pattern: str, subject: str) -> bool:
    """Whether a subscription to `pattern` hears `subject`."""
    wanted, got = pattern.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(got) <= len(wanted):
            return False
    elif len(got) != len(wanted):
        return False
    return all(w in ("*", g) for w, g in zip(wanted, got, strict=False))


def _is_token(token: str) -> bool:
    return bool(token) and token.isascii() and token.isprintable() and " " not in token


def _unversioned(stored_as: str) -> str:
    name, dot, version = stored_as.rpartition(".v")
    return name if dot and version.isdigit() else stored_as
