"""The linked prefix: an environment as it will lie on the execution point, byte-compiled, with facts
about each of its files.
"""
