"""Builds: from a Dockerfile and a context to an image, step by step, each step an event."""
