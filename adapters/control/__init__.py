"""The control socket: who speaks is read from the kernel, what they say is passed on to the bus in their name."""
