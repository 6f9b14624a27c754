"""The registries of the world, for the rest of the engine: repositories to pull from and push to, logins, searches."""

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from threading import Lock

from adapters.registry.repository import Repository
from adapters.registry.session import Session, Wish
from adapters.registry.web import Web
from domain.errors import NotFound
from domain.images.credentials import Credentials
from domain.images.denials import LARGEST_ERROR, Asked, denial
from domain.images.manifest import LARGEST_MANIFEST
from domain.images.reference import DEFAULT_HOST, Reference
from domain.images.registries import DOCKER_INDEX, Endpoint, Registries
from domain.images.search import Hit, parse_catalog, parse_hits
from domain.images.transfer import next_page
from domain.ports.bus import Stop

_KEPT = 32
_MOST_PAGES = 50


class RemoteRegistries:
    """Keeps connections and tokens for who comes again; sessions of one user are never another's."""

    def __init__(self, configuration: Registries, environ: Mapping[str, str] = os.environ) -> None:
        self.configuration = configuration
        self._web = Web(configuration.certificates, environ)
        self._sessions: OrderedDict[tuple[Endpoint, Credentials], Session] = OrderedDict()
        self._lock = Lock()

    def close(self) -> None:
        """Close all connections."""
        self._web.close()

    def source(
        self,
        reference: Reference,
        credentials: Callable[[str], Credentials],
        stop: Stop,
        note: Callable[[str], None] = lambda text: None,
    ) -> Repository:
        """Where the reference is pulled from, mirrors first; `credentials` gives those for a host."""
        sessions = [
            self._session(endpoint, credentials(endpoint.host))
            for endpoint in self.configuration.endpoints(reference.host)
        ]
        asked = Asked(reference.host, str(reference), sessions[-1].user)
        return Repository(sessions, reference.path, asked, stop, note)

    def target(
        self,
        reference: Reference,
        credentials: Credentials,
        stop: Stop,
        note: Callable[[str], None] = lambda text: None,
        *,
        mounts: Sequence[str] = (),
    ) -> Repository:
        """Where the reference is pushed to."""
        session = self._session(self.configuration.endpoint(reference.host), credentials)
        asked = Asked(reference.host, str(reference), session.user, "push")
        return Repository([session], reference.path, asked, stop, note, mounts=mounts)

    def login(self, host: str, credentials: Credentials) -> None:
        """Returns when the registry accepts them. Raises: RegistryDenied, RegistryFailed, Refused."""
        session = Session(self._web, self.configuration.endpoint(host), credentials)
        session.login(Asked(host, host, credentials.user, "log in to"))

    def search(self, host: str, term: str, limit: int, credentials: Credentials) -> Sequence[Hit]:
        """What the registry finds, best first; of one without a search, the repositories whose name fits.

        Raises: NotFound (it has neither), RegistryDenied, RegistryFailed, Refused.
        """
        endpoint = self.configuration.endpoint(host)
        if host == DEFAULT_HOST:
            endpoint = Endpoint(host, DOCKER_INDEX)
        session, asked = self._session(endpoint, credentials), Asked(host, host, credentials.user, "search")
        with session.ask(Wish("GET", f"v1/search?q={_quoted(term)}&n={min(limit, 100)}"), asked) as answer:
            if answer.status == 200:
                return parse_hits(answer.read(LARGEST_MANIFEST, "the result of the search"))[:limit]
        return self._catalog(session, asked, term, limit)

    def _catalog(self, session: Session, asked: Asked, term: str, limit: int) -> Sequence[Hit]:
        found: list[Hit] = []
        path = "v2/_catalog?n=1000"
        for _ in range(_MOST_PAGES):
            with session.ask(Wish("GET", path, ("registry:catalog:*",)), asked) as answer:
                if answer.status in (404, 405):
                    raise NotFound(f"{asked.host} cannot be searched")
                if answer.status != 200:
                    raise denial(answer.status, answer.some(LARGEST_ERROR), asked)
                path = next_page(answer.header("link"))
                names = parse_catalog(answer.read(LARGEST_MANIFEST, "the list of repositories"))
            found += [Hit(name=name) for name in names if term.lower() in name]
            if not path or len(found) >= limit:
                break
        return tuple(found[:limit])

    def _session(self, endpoint: Endpoint, credentials: Credentials) -> Session:
        with self._lock:
            key = (endpoint, credentials)
            session = self._sessions.pop(key, None) or Session(self._web, endpoint, credentials)
            self._sessions[key] = session
            while len(self._sessions) > _KEPT:
                self._sessions.popitem(last=False)
            return session


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
