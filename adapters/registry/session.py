"""One registry and one user: where it is reached, how one proves who one is, and redirects that give nothing away."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from threading import RLock
from time import monotonic
from urllib.parse import urlencode, urljoin, urlsplit

from adapters.registry.web import Answer, PlainHttp, Web
from domain.errors import LadingError, Refused
from domain.images.challenge import EARLY, LARGEST_TOKEN, Challenge, Token, chosen, parse_challenges, parse_token
from domain.images.credentials import Credentials
from domain.images.denials import LARGEST_ERROR, Asked, RegistryDenied, RegistryFailed, denial, missing, unauthorized
from domain.images.registries import Endpoint, is_loopback
from domain.text.safe import safe

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5
_MOST_TOKENS = 64
_AGENT = "lading"


@dataclass(frozen=True, slots=True)
class Wish:
    """One request: `body` may be sent again, so it is bytes or something that begins anew with every `iter`."""

    method: str
    path: str
    scopes: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] | None = None


class Session:
    """Used by several threads."""

    def __init__(self, web: Web, endpoint: Endpoint, credentials: Credentials) -> None:
        self._web, self.endpoint, self._credentials = web, endpoint, credentials
        self._scheme = endpoint.schemes[0] if len(endpoint.schemes) == 1 else ""
        self._challenge: Challenge | None = None
        self._tokens: dict[tuple[str, ...], tuple[Token, float]] = {}
        self._lock = RLock()

    @property
    def user(self) -> str:
        """Who we are there; empty for nobody."""
        return self._credentials.user or ("(token)" if self._credentials.identity_token else "")

    def ask(self, wish: Wish, asked: Asked) -> Answer:
        """The answer to a request, whatever its status, except that it knows by then who asks.

        `path` is below the registry, or the whole address that it gave us. Raises: RegistryDenied, RegistryFailed,
        NotFound, Refused.
        """
        url = urljoin(self.base(), wish.path)
        fresh = False
        for _ in range(3):
            sent = self._authorization(wish.scopes, asked) if self._own(url) else ""
            answer = self._follow(wish, url, sent)
            if answer.status != 401:
                return answer
            # Where a redirect leads, anybody could name a token service of his own, and be sent the password.
            challenge = chosen(parse_challenges(answer.challenges)) if self._own(answer.url) else None
            answer.some(LARGEST_ERROR)
            # A token may have run out; a new one that is refused as well was all we had.
            if challenge is None or fresh or not self._learn(challenge, wish.scopes, sent):
                break
            fresh = bool(sent)
        raise self._nobody(asked)

    def base(self) -> str:
        """`https://host:port/`, once it is known which of the two schemes the registry speaks.

        Raises: RegistryFailed, RegistryDenied.
        """
        scheme = self._scheme
        if not scheme:
            with self._lock:
                scheme = self._scheme = self._scheme or self._probe()
        return f"{scheme}://{self.endpoint.address}/"

    def login(self, asked: Asked) -> None:
        """Returns when the registry accepts the credentials. Raises: RegistryDenied, RegistryFailed, Refused."""
        with self.ask(Wish("GET", "v2/"), asked) as answer:
            if answer.status != 200:
                raise denial(answer.status, answer.some(LARGEST_ERROR), asked)

    def _probe(self) -> str:
        """Some servers swallow the first words of TLS and wait: hosts that may be plain get two seconds for them."""
        try:
            answer = self._web.send("GET", f"https://{self.endpoint.address}/v2/", _headers(), endpoint=self.endpoint,
                                    probing=True)  # fmt: skip
        except (PlainHttp, RegistryFailed):
            return "http"
        answer.some(LARGEST_ERROR)
        return "https"

    def _follow(self, wish: Wish, url: str, authorization: str) -> Answer:
        for _ in range(_MOST_REDIRECTS):
            answer = self._send(wish, url, authorization if self._own(url) else "")
            location = answer.header("location")
            if answer.status not in _REDIRECTS or not location or wish.method not in ("GET", "HEAD"):
                return answer
            answer.close()
            url = self._next(url, location)
        raise Refused(f"{self.endpoint.host} sends us around in circles")

    def _next(self, url: str, location: str) -> str:
        target = urljoin(url, location)
        parts = urlsplit(target)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"{self.endpoint.host} sends us to an address that is none")
        if parts.scheme == "http" and url.startswith("https:") and not self.endpoint.insecure:
            raise Refused(f"{self.endpoint.host} sends us to {safe(parts.netloc)[:200]} without TLS, refusing it")
        return target

    def _send(self, wish: Wish, url: str, authorization: str) -> Answer:
        headers = {**_headers(), **wish.headers}
        if authorization:
            headers["Authorization"] = authorization
        endpoint = self.endpoint if self._own(url) else None
        try:
            return self._web.send(wish.method, url, headers, endpoint=endpoint, body=wish.body)
        except PlainHttp as error:
            hint = f'if that is meant to be: registries.insecure = ["{self.endpoint.host}"] in the configuration'
            raise RegistryDenied(f"{self.endpoint.host} does not speak TLS", hint=hint) from error
        except RegistryFailed:
            if len(self.endpoint.schemes) > 1:
                self._scheme = ""  # it may have changed its mind
            raise

    def _own(self, url: str) -> bool:
        """Whether it is the registry itself: only there anybody learns who we are."""
        return urlsplit(url)[:2] == urlsplit(self.base())[:2]

    # Who we are

    def _authorization(self, scopes: tuple[str, ...], asked: Asked) -> str:
        """What proves it, as far as it is known what is wanted."""
        challenge = self._challenge
        if challenge is None:
            return ""
        if challenge.scheme == "basic":
            return f"Basic {self._credentials.basic}" if self._credentials.basic else ""
        with self._lock:
            kept = self._tokens.get(scopes)
            if kept is None or kept[1] <= monotonic():
                kept = self._tokens[scopes] = self._fetched(challenge, scopes, asked)
                while len(self._tokens) > _MOST_TOKENS:
                    del self._tokens[next(iter(self._tokens))]
        return f"Bearer {kept[0].value}"

    def _learn(self, challenge: Challenge, scopes: tuple[str, ...], sent: str) -> bool:
        """Whether another try may end differently."""
        if challenge.scheme == "basic" and (not self._credentials.basic or sent):
            return False
        if challenge.scheme == "bearer" and sent:
            self._tokens.pop(scopes, None)
        self._challenge = challenge
        return True

    def _fetched(self, challenge: Challenge, scopes: tuple[str, ...], asked: Asked) -> tuple[Token, float]:
        """A token, and until when it is used (monotonic). Raises: RegistryDenied, RegistryFailed, Refused."""
        realm = challenge.values["realm"]
        self._check_realm(realm)
        wanted = scopes or tuple(challenge.values.get("scope", "").split())
        fields = [("scope", scope) for scope in wanted]
        if service := challenge.values.get("service"):
            fields.insert(0, ("service", service))
        begun = monotonic()
        answer = self._refreshed(realm, fields) if self._credentials.identity_token else None
        if answer is None or answer.status in (404, 405):
            answer = self._token_by_get(realm, fields)
        if answer.status != 200:
            raise self._token_denied(answer, asked)
        token = parse_token(answer.read(LARGEST_TOKEN, "the answer of the token service"))
        return token, begun + token.life - EARLY

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"{self.endpoint.host} names a token service that cannot be one")
        lax = self.endpoint.insecure or is_loopback(parts.hostname)
        if parts.scheme == "http" and self._credentials and not lax:
            raise Refused(f"{self.endpoint.host} wants your password sent to {safe(parts.netloc)[:200]} without TLS")

    def _token_by_get(self, realm: str, fields: list[tuple[str, str]]) -> Answer:
        basic = self._credentials.basic
        headers = _headers() | ({"Authorization": f"Basic {basic}"} if basic else {})
        more = urlencode([("account", self._credentials.user), *fields] if basic else fields)
        url = f"{realm}{'&' if '?' in realm else '?'}{more}"
        return self._web.send("GET", url, headers, endpoint=self._near(realm))

    def _refreshed(self, realm: str, fields: list[tuple[str, str]]) -> Answer:
        scopes = " ".join(value for name, value in fields if name == "scope")
        form = [(name, value) for name, value in fields if name != "scope"]
        form += [("scope", scopes), ("grant_type", "refresh_token"), ("client_id", _AGENT)]
        form += [("refresh_token", self._credentials.identity_token)]
        headers = _headers() | {"Content-Type": "application/x-www-form-urlencoded"}
        return self._web.send("POST", realm, headers, endpoint=self._near(realm), body=urlencode(form).encode())

    def _near(self, url: str) -> Endpoint | None:
        """The token service of a registry of one's own is behind the same certificate."""
        host = urlsplit(url).hostname
        return self.endpoint if host == urlsplit(self.base()).hostname else None

    def _nobody(self, asked: Asked) -> LadingError:
        scheme = self._challenge.scheme if self._challenge is not None else ""
        return missing(asked, "", "") if asked.doing == "pull" and not self.user and scheme == "bearer" else (
            unauthorized(asked)
        )

    def _token_denied(self, answer: Answer, asked: Asked) -> LadingError:
        body = answer.some(LARGEST_ERROR)
        if answer.status == 401 or (answer.status == 400 and self.user):
            return self._nobody(asked)
        return denial(answer.status, body, asked)


def _headers() -> dict[str, str]:
    return {"User-Agent": _AGENT, "Accept-Encoding": "identity"}
