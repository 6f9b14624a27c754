"""A command line as history keeps it: what was typed, without the secrets.

    redacted(["run", "-e", "TOKEN=abc", "-w", "/x y", "web"]) == "run -e 'TOKEN=(secret)' -w '/x y' web"

Every value of an environment variable counts as secret, because nobody can tell which one is not. A bare `NAME` keeps
its form. So does who logs in by an address: of `https://ann:abc@host/app.git` the host is kept, of other addresses the
user as well, for a token may stand alone there. The command inside the container is kept as it was typed, as the
container's own record keeps it too.
"""

import re
import shlex
from collections.abc import Sequence

SECRET = "(secret)"
_LOGIN = re.compile(r"\b(https?://)[^\s/?#@]+@|\b([a-z][a-z0-9+.-]*://[^\s/?#@:]*:)[^\s/?#@]+@", re.IGNORECASE)
_PAIRS = frozenset({"env", "build-arg"})
_WHOLE = frozenset({"password"})
_STARTERS = frozenset({"run", "create", "exec"})
# The flags of run, create and exec that take no value; every other option of theirs does.
_BARE = frozenset(
    {
        "detach",
        "help",
        "init",
        "interactive",
        "no-healthcheck",
        "oom-kill-disable",
        "privileged",
        "publish-all",
        "quiet",
        "read-only",
        "rm",
        "sig-proxy",
        "tty",
        "use-api-socket",
    }
)
_BARE_SHORT = frozenset("diPqt")


def redacted(argv: Sequence[str]) -> str:
    """The words of `argv`, quoted for a shell, with secret values masked."""
    return " ".join(shlex.quote(word) for word in mask(argv))


def mask(argv: Sequence[str]) -> tuple[str, ...]:
    """The words of `argv` with secret values masked."""
    verb = next((word for word in argv if word in _STARTERS), "")
    words: list[str] = list(argv)
    result: list[str] = []
    started, login = False, not verb and "login" in argv
    while words:
        word = words.pop(0)
        if started and (word == "--" or not word.startswith("-")):
            # Options of run end here: what follows belongs to the command in the container.
            return (*result, word, *words)
        if login and word.startswith("-p"):
            result += _password(word, words)
        else:
            result += map(_open, _option(word, words, started))
        started = started or (bool(verb) and word == verb)
    return tuple(result)


def _password(word: str, rest: list[str]) -> list[str]:
    """Of `login -p X`, in all its forms."""
    if word != "-p":
        return [f"-p{SECRET}"]
    return [word, SECRET] if rest and rest.pop(0) else [word]


def _option(word: str, rest: list[str], starter: bool) -> list[str]:
    if word.startswith("--"):
        return _long(word, rest, starter)
    return _short(word, rest) if starter and len(word) > 1 and word.startswith("-") else [word]


def _long(word: str, rest: list[str], starter: bool) -> list[str]:
    name, equals, value = word[2:].partition("=")
    takes_value = name in _PAIRS | _WHOLE or (starter and name not in _BARE)
    if equals:
        return [f"--{name}={_masked(name, value)}"]
    if takes_value and rest:
        return [word, _masked(name, rest.pop(0))]
    return [word]


def _short(word: str, rest: list[str]) -> list[str]:
    for place, letter in enumerate(word[1:], 1):
        if letter in _BARE_SHORT:
            continue
        name, attached = ("env" if letter == "e" else letter), word[place + 1 :]
        if attached:
            equals = "=" if attached.startswith("=") else ""
            return [word[: place + 1] + equals + _masked(name, attached.removeprefix("="))]
        return [word, _masked(name, rest.pop(0))] if rest else [word]
    return [word]


def _masked(name: str, value: str) -> str:
    if name in _WHOLE:
        return SECRET
    if name not in _PAIRS:
        return value
    key, equals, _ = value.partition("=")
    return f"{key}={SECRET}" if equals else value


def _open(word: str) -> str:
    """A word without what opens a door by an address."""
    return _LOGIN.sub(lambda found: f"{found[1] or found[2]}{SECRET}@", word)
