"""Programs of the machine that builds or mounts: found, or obtained without root."""
