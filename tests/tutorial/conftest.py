"""Every test here has an engine of its own or shares that of its file, and uses it from outside only."""

from tests.tutorial.fixtures import base_image, engine, fresh, private, registry, served

__all__ = ["base_image", "engine", "fresh", "private", "registry", "served"]
