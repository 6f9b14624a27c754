"""The machine itself: its clock, its chance, its facts."""
