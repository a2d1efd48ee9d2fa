"""What runs on workers: shell scripts, and Python for whatever version is there. Read as text, never
imported by us."""
