"""One folder for each thing outside; adapters never import each other."""
