"""The console: what a person typed becomes commands and queries, and their answers become text and an exit status."""
