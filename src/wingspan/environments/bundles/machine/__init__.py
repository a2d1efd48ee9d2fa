"""Programs for building and mounting: found on this machine, or obtained without root."""
