"""Reaching into a container's files: a short-lived process that sees nothing but them (`main`), and the way there."""
