#!/bin/sh
# Only the lock travels: each job installs from it with Pixi, a fixed version whose checksum is compared. The machine needs the network.
cd "$(dirname "$0")/.." && exec wingspan run train --kind install --follow --fetch "$@"
