"""When this happened, ask for that: decisions nobody has to type."""
