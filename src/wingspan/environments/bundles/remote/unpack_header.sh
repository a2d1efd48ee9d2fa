#!/usr/bin/env bash
# A locked environment that unpacks itself, in the layout of pixi-pack. Options after the file name:
#   -o FOLDER  where (default: here)    -e NAME  name of the environment's folder (default: env)
set -euo pipefail

begin=$(grep -anm 1 '^@@END_HEADER@@$' "$0" | cut -d: -f1) || true
end=$(grep -anm 1 '^@@END_ARCHIVE@@$' "$0" | cut -d: -f1) || true
if [ -z "$begin" ] || [ -z "$end" ]; then
    echo "unpack: $0 is cut; fetch it again" >&2
    exit 121
fi

# The archive is decoded beside what it unpacks to: /tmp may be small.
folder=.
previous=''
for argument in "$@"; do
    case $previous in -o | --output-directory) folder=$argument ;; esac
    case $argument in
    --output-directory=*) folder=${argument#*=} ;;
    -o?*) folder=${argument#-o} ;;
    esac
    previous=$argument
done
mkdir -p "$folder"
temporary=$(mktemp -d "$folder/.unpack-XXXXXX")
trap 'rm -rf "$temporary"' EXIT

free_kib() { df -P -k "$folder" | awk 'NR == 2 { print $4 }'; }
no_room() {
    echo "unpack: no room in $folder: $(($(free_kib) / 1024)) MiB are free, the archive alone has $((archive / 1024)) MiB${1:+: $1}" >&2
    exit 123
}
decode() {
    if ! { sed -n "$1p" "$0" | base64 -d >"$temporary/$2"; } 2>"$temporary/said"; then
        # What can be decoded is not damaged. It could not be written: no room, a quota, a limit on the size
        # of files.
        if sed -n "$1p" "$0" | base64 -d >/dev/null 2>&1; then no_room "$(tail -n 1 "$temporary/said")"; fi
        echo "unpack: $0 is damaged; fetch it again" >&2
        exit 121
    fi
}
archive=$(($(wc -c <"$0") / 4 * 3 / 1024)) # KiB
[ "$(free_kib)" -gt "$archive" ] || no_room
decode "$((begin + 2)),$((end - 1))" archive.tar
decode "$((end + 1)),\$" unpack
chmod +x "$temporary/unpack"
# Where programs do not run (noexec), sh still reads a script, which then says what is wrong.
run=''
[ "$(head -c 2 "$temporary/unpack")" != '#!' ] || run='sh'
# Our unpacker removes the archive as soon as the packages are out of it: that saves disk.
WINGSPAN_UNPACK_TEMPORARY="$temporary/archive.tar" $run "$temporary/unpack" "$@" "$temporary/archive.tar"
exit 0
# everything below is data
# shellcheck disable=SC2317
