"""A user's package beside a script."""
