"""The template language of `--format`: tree (what it consists of), reader, functions, apply (the way in)."""
