"""The resources of the API: one file each, with its routes. The table of all of them stands here."""

from workers.gateway.resources import (
    absent,
    builds,
    container_files,
    container_streams,
    containers,
    execs,
    images,
    networks,
    system,
    transfers,
    volumes,
)
from workers.gateway.routes import Route

ROUTES: tuple[Route, ...] = (
    *absent.ROUTES,
    *system.ROUTES,
    *containers.ROUTES,
    *container_streams.ROUTES,
    *container_files.ROUTES,
    *execs.ROUTES,
    *images.ROUTES,
    *transfers.ROUTES,
    *builds.ROUTES,
    *networks.ROUTES,
    *volumes.ROUTES,
)
"""All routes; the first that fits counts, so those of exact paths come before a `DELETE /containers/{name...}`."""
