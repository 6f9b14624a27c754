"""Engines for tests that kill parts of them."""

from tests.tutorial.fixtures import base_image, fresh, served

__all__ = ["base_image", "fresh", "served"]
