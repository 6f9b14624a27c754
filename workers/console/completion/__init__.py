"""Completion of command lines in shells: static scripts, written from the tables of the verbs.

A script knows every verb and option by itself. Only for names of containers, images, networks and volumes it asks the
daemon, once, for at most 100 ms; it starts none, and prints no error.
"""
