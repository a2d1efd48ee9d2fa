#!/bin/sh
# The environment is a self-extracting archive in the form of pixi-pack: each job unpacks it, on any Linux.
cd "$(dirname "$0")/.." && exec wingspan run train --kind pack --follow --fetch "$@"
