"""The linked prefix: an environment as it will lie on the execution point, byte-compiled, with what is known
of each of its files."""
