"""The kinds of bundles: how each is written, and what its format is."""
