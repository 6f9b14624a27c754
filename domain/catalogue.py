"""All events that may be in a log, and all projections: importing this makes every stored name known."""

from domain import accesses as accesses
from domain import host as host
from domain.images import events as events
from domain.lifecycle import MACHINE as MACHINE
from domain.network import streams as streams
from domain.projections.addresses import Addresses, Tenures
from domain.projections.build_cache import BuildCache
from domain.projections.builds import Builds
from domain.projections.containers import Containers
from domain.projections.fold import Projection
from domain.projections.images import Images
from domain.projections.names import Names, Past
from domain.projections.networks import Networks, PastNetworks
from domain.projections.refs import Refs
from domain.projections.spans import Spans
from domain.projections.volumes import Volumes


def projections() -> tuple[Projection, ...]:
    """Every projection, those written with the events first."""
    return (Containers(), Names(), Past(), Images(), Refs(), Builds(), BuildCache(), Networks(), Addresses(),
            PastNetworks(), Tenures(), Spans(), Volumes())
