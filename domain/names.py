"""Container names and ids: what may be typed, and names made up for those who type none. Standard library only."""

from domain.errors import InvalidValue

LONGEST = 128
_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_REST = _FIRST | frozenset("_.-")
_HEX = frozenset("0123456789abcdef")

_ADJECTIVES = """
    able agile amber ample azure balmy bold brave bright brisk calm candid cheery civil clear clever cosy crisp
    daring deft eager early earnest easy fair fervent fine fleet fond frank free fresh gentle glad golden grand
    hardy hearty honest humble ideal jolly keen kind lasting level light lively loyal lucid lucky mellow merry
    mighty mild modest neat nimble noble open patient plucky polite prime proud pure quick quiet rapid ready
    robust royal serene sharp silver simple sincere smart smooth snug solid sound spry steady still stout strong
    sturdy sunny sure swift tender tidy trim true trusty upbeat vivid warm wise witty zesty
""".split()  # noqa: SIM905 - a table of words reads better as text
_SURNAMES = """
    abel agnesi archimedes babbage banach bell bernoulli blackwell bohr boole born bose brahe cantor cauchy
    chandra codd copernicus curie dantzig darwin descartes dijkstra dirac eckert edison einstein engelbart erdos
    euclid euler faraday fermat fermi feynman fourier franklin galileo galois gauss germain goedel goodall
    hamilton hawking heisenberg hilbert hodgkin hopper hypatia joliot kepler kilby knuth kovalevskaya lamarr
    lamport laplace leavitt leibniz liskov lovelace mahavira maxwell mccarthy meitner mendel mirzakhani morse
    napier nash newton nobel noether pascal pasteur pauli payne perlman planck poincare ptolemy ramanujan rhodes
    riemann ride ritchie rubin sammet shannon snyder sutherland tesla thompson torvalds turing volhard wiles
    wilson wing wozniak wright wu yalow yonath
""".split()  # noqa: SIM905 - a table of words reads better as text


def container_name(text: str) -> str:
    """A valid name without the leading slash that the industry's API puts in front. Raises: InvalidValue."""
    name = text[1:] if text.startswith("/") else text
    if 2 <= len(name) <= LONGEST and name[0] in _FIRST and all(c in _REST for c in name):
        return name
    raise InvalidValue(
        f"Invalid container name ({text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed",
        hint=f"use 2 to {LONGEST} of these characters, beginning with a letter or a digit",
    )


def made_up(adjective: int, surname: int, attempt: int = 0) -> str:
    """`adjective_surname`; from the second attempt on with a digit appended."""
    name = f"{_ADJECTIVES[adjective % len(_ADJECTIVES)]}_{_SURNAMES[surname % len(_SURNAMES)]}"
    return name if attempt == 0 else f"{name}{attempt % 10}"


def is_id(text: str) -> bool:
    """Whether the text is a full id: 64 lower-case hex digits."""
    return len(text) == 64 and is_id_prefix(text)


def is_id_prefix(text: str) -> bool:
    """Whether the text may be the beginning of an id."""
    return 0 < len(text) <= 64 and all(c in _HEX for c in text)
