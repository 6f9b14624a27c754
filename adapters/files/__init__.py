"""Plain files: container logs."""
