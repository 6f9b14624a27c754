"""Processes of containers against the bare kernel: system calls, plans carried out, control groups, and who supervises."""
