"""The soak: the same small things done hundreds of times over, each with a checksum. What is lost once in thirty times
is found here and nowhere else. Not a part of the suite: `make soak` runs it for some minutes and prints what it found.
"""
