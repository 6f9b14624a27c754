"""What a registry's refusal means, in one clear line and a hint. Its own words are quoted, bounded, and made safe.

    {"errors": [{"code": "MANIFEST_UNKNOWN", "message": "manifest unknown", "detail": {"Tag": "v9"}}]}
"""

from dataclasses import dataclass

from domain.errors import InvalidValue, LadingError, NotFound, Refused, Unavailable
from domain.images.manifest import parse_json
from domain.text.safe import safe

LARGEST_ERROR = 64 << 10


class RegistryDenied(Refused):
    """The registry knows us too little, or not well enough."""


class RegistryFailed(Unavailable):
    """The registry does not work at the moment: it may be tried again, `after` seconds if it has said so."""

    def __init__(self, message: str, *, hint: str = "", after: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.after = after


@dataclass(frozen=True, slots=True)
class Asked:
    """What was asked: of which registry, about which image, as whom, to do what (`pull` or `push`)."""

    host: str
    name: str
    user: str = ""
    doing: str = "pull"

    @property
    def who(self) -> str:
        """In words."""
        return f"as {safe(self.user)[:100]}" if self.user else "anonymously"


def codes(body: bytes) -> tuple[tuple[str, str], ...]:
    """Codes and messages of an error body; a plain text is one message without a code."""
    try:
        document = parse_json(body, "error")
        errors = document["errors"]
        return tuple((str(error.get("code", "")), str(error.get("message", ""))) for error in errors[:8])
    except (InvalidValue, LookupError, TypeError, AttributeError):
        text = body.decode("utf-8", "replace").strip()
        return (("", text),) if text and not text.startswith("<") else ()


def denial(status: int, body: bytes, asked: Asked) -> LadingError:
    """The error for an answer that is not what was asked for."""
    told = codes(body)
    code = told[0][0] if told else ""
    said = safe(" ".join(message for _, message in told if message))[:300]
    if status == 401 or code == "UNAUTHORIZED":
        return unauthorized(asked)
    if status == 403 or code == "DENIED":
        return RegistryDenied(
            f"cannot {asked.doing} {asked.name}: {asked.host} denied it (asked {asked.who})"
            + (f": {said}" if said else ""),
            hint=f"does this user have the right to {asked.doing} there? Another one: lading login {asked.host}",
        )
    if status == 404 or code in ("MANIFEST_UNKNOWN", "NAME_UNKNOWN", "BLOB_UNKNOWN"):
        return missing(asked, code, said)
    if status == 429 or code == "TOOMANYREQUESTS":
        return limited(asked, None)
    if status >= 500:
        return RegistryFailed(f"{asked.host} fails at the moment: status {status}" + (f": {said}" if said else ""))
    return Refused(f"cannot {asked.doing} {asked.name}: {asked.host} answered {status}" + (f": {said}" if said else ""))


def unauthorized(asked: Asked) -> LadingError:
    """Nobody without credentials, or not with these."""
    if asked.user:
        return RegistryDenied(
            f"cannot {asked.doing} {asked.name}: {asked.host} does not accept the credentials of "
            f"{safe(asked.user)[:100]}: unauthorized",
            hint=f"log in again: lading login {asked.host}",
        )
    return RegistryDenied(
        f"cannot {asked.doing} {asked.name}: no basic auth credentials for {asked.host}, and it wants some",
        hint=f"lading login {asked.host}",
    )


def missing(asked: Asked, code: str, said: str) -> LadingError:
    """Registries do not say whether there is nothing, or nothing for us."""
    if code == "MANIFEST_UNKNOWN":
        return NotFound(f"manifest for {asked.name} not found: {said or 'manifest unknown'}")
    if asked.doing == "push":
        return NotFound(f"cannot push {asked.name}: {asked.host} does not have it" + (f": {said}" if said else ""))
    return NotFound(
        f"cannot pull {asked.name}: the repository does not exist or needs a login, says {asked.host} (asked "
        f"{asked.who})",
        hint=f"is the name right? If it is private: lading login {asked.host}",
    )


def limited(asked: Asked, seconds: float | None) -> LadingError:
    """Too many requests; `seconds` is what the registry asks us to wait, longer than anybody would."""
    wait = f" for {round(seconds)} seconds" if seconds else ""
    return RegistryFailed(
        f"{asked.host} limits how much may be pulled, and lets nobody in{wait} (asked {asked.who}): toomanyrequests",
        hint=f"try later, or as a user with a higher limit: lading login {asked.host}",
    )
