#!/bin/sh
# The environment is an Apptainer image. HTCondor starts the container where it can, else the job does.
cd "$(dirname "$0")/.." && exec wingspan run train --kind sif --follow --fetch "$@"
