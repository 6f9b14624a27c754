"""Containers against the bare kernel: system calls, plans carried out, control groups, supervision."""
