"""Imported by nobody but a function."""

ANSWER = 42
