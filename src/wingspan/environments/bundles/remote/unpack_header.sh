#!/usr/bin/env bash
# A locked environment that unpacks itself, in the layout of pixi-pack. Options after the file name go to the unpacker:
#   -o FOLDER  where (default: here)    -e NAME  name of the environment's folder (default: env)
set -euo pipefail

begin=$(grep -anm 1 '^@@END_HEADER@@$' "$0" | cut -d: -f1) || true
end=$(grep -anm 1 '^@@END_ARCHIVE@@$' "$0" | cut -d: -f1) || true
if [ -z "$begin" ] || [ -z "$end" ]; then
    echo "unpack: $0 is cut; fetch it again" >&2
    exit 121
fi

# the archive and what it unpacks to lie side by side: a small /tmp does not matter
folder=.
previous=''
for argument in "$@"; do
    case $previous in -o | --output-directory) folder=$argument ;; esac
    previous=$argument
done
mkdir -p "$folder"
temporary=$(mktemp -d "$folder/.unpack-XXXXXX")
trap 'rm -rf "$temporary"' EXIT

sed -n "$((begin + 2)),$((end - 1))p" "$0" | base64 -d >"$temporary/archive.tar"
sed -n "$((end + 1)),\$p" "$0" | base64 -d >"$temporary/unpack"
chmod +x "$temporary/unpack"
"$temporary/unpack" "$@" "$temporary/archive.tar"
exit 0
# everything below is data
# shellcheck disable=SC2317
