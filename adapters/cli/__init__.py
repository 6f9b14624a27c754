"""The command `lading`: as little Python as possible between the person's shell and the daemon."""
