#!/bin/sh
# The environment is an OCI image, as Docker and podman have them: the job loads and starts it with what is there, Apptainer included.
cd "$(dirname "$0")/.." && exec wingspan run train --kind oci --follow --fetch "$@"
