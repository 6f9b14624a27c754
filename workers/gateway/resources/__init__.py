"""The resources of the API: one file each, with its routes. The table of all of them stands here."""

from workers.gateway.resources import containers, system
from workers.gateway.routes import Route

ROUTES: tuple[Route, ...] = (*system.ROUTES, *containers.ROUTES)
"""All routes; the first that fits counts."""
