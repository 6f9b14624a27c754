"""Builds: the Dockerfile and what it means, the context's rules, cache keys, and the events of builds. Pure.

`patterns` and `ignore` are read by the thin client, too, and use nothing but the language itself.
"""
