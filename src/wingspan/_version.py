"""The version, in a module of its own: whoever needs it does not import the public face of everything."""

__version__ = "0.1.0"
