"""Text for people: tables, units, times, templates, and keeping foreign text from steering a terminal. Pure."""
