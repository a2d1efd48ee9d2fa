"""The workspace's own code, as a thin layer beside a bundle: it changes often, and locked packages do not."""
