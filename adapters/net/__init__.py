"""The network of containers in the kernel: a process of its own, and how the daemon asks it."""
