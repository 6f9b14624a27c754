"""Volumes: directories with a name of their own that outlive the containers that use them. Pure."""
