"""A user's module that has the name of one of the standard library."""


def mean(values):
    return f"own mean of {values}"
