"""The small processes that outlive the daemon: keeper, warden, zygote; and the daemon's way to them."""
