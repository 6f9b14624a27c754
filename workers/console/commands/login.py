"""login: prove to a registry who one is, and keep what proves it."""

from domain.errors import InvalidValue
from domain.images.credentials import Credentials
from domain.images.reference import DEFAULT_HOST
from domain.images.registries import parse_host
from domain.options import flag, one
from domain.text.safe import safe
from workers.console.errors import Plain
from workers.console.keyring import Keyring, keyring
from workers.console.verb import Example, Invocation, Verb

_LONGEST = 64 << 10


def host_of(invocation: Invocation) -> str:
    """The registry that was named, or the default one. Raises Plain."""
    try:
        return parse_host(invocation.arguments[0]) if invocation.arguments else DEFAULT_HOST
    except InvalidValue as error:
        raise Plain(error.message, hint=error.hint) from error


async def _login(invocation: Invocation) -> int:
    host, ring = host_of(invocation), keyring(invocation.call)
    credentials = await _credentials(invocation, host, ring)
    await invocation.engine.images.login(host, credentials)
    place = await ring.keep(host, credentials)
    if not place.startswith("docker-credential-"):
        await invocation.warn(f"WARNING: the password is stored in {safe(place)} for who can read that file")
    await invocation.say("Login Succeeded")
    return 0


async def _credentials(invocation: Invocation, host: str, ring: Keyring) -> Credentials:
    options, call = invocation.options, invocation.call
    user, password = options.text("username"), options.one("password")
    if options.flag("password-stdin"):
        if password is not None:
            raise Plain("--password and --password-stdin are mutually exclusive")
        if not user:
            raise Plain("Must provide --username with --password-stdin")
        return Credentials(user, await _piped(invocation))
    if password is not None and not user:
        raise Plain("Must provide --username with --password")
    if not user and not call.terminal.stdin_tty:
        known = await ring.find(host)
        if known:
            await invocation.say("Authenticating with existing credentials...")
            return known
    if password is None and not call.terminal.stdin_tty:
        raise Plain(
            "Cannot perform an interactive login from a non TTY device",
            hint=f"lading login -u NAME --password-stdin {host} <FILE",
        )
    user = user or (await call.ask("Username: ")).strip()
    password = password if password is not None else await call.ask("Password: ", hidden=True)
    if not user or not password:
        raise Plain("Non-null Username and Password required")
    return Credentials(user, password)


async def _piped(invocation: Invocation) -> str:
    found = b""
    async for piece in invocation.call.stdin():
        found += piece
        if len(found) > _LONGEST:
            raise Plain("the password on standard input is too long")
    try:
        password = found.decode().rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise Plain("the password on standard input is not UTF-8") from error
    if not password:
        raise Plain("the password on standard input is empty")
    return password


VERB = Verb(
    name="login",
    usage="[OPTIONS] [REGISTRY]",
    summary="Log in to a registry",
    run=_login,
    most=1,
    options=(
        one("password", "p", "Password (others see it in the list of processes: better --password-stdin)"),
        flag("password-stdin", "", "Take the password from standard input"),
        one("username", "u", "User name"),
    ),
    notes="""\
The registry is asked at once. What it accepts is kept where docker keeps it, in ~/.docker/config.json of yours or with
the credential helper named there; podman's auth.json is read as well.""",
    examples=(
        Example("lading login registry.example.com", "asks for user and password"),
        Example("lading login -u ann --password-stdin registry.example.com <token", "for scripts"),
    ),
)
