"""What a newborn child does to itself: a function for each step of a plan; `adapters.kernel.apply` calls them in order.

The child is a fork of a process with one thread: nothing in here imports late, logs, or asks a name service, and after
`PivotRoot` nothing names a host path.
"""
