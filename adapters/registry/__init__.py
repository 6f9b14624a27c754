"""Registries over HTTP: the distribution protocol of OCI and Docker. Everything here blocks, and runs in threads."""
