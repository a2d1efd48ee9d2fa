#!/bin/sh
''':' # a shell reads these lines, Python a string; unpacker.py follows
export LC_ALL=C.UTF-8 # Python 3.6 takes ASCII for what it writes in the locale C
for python in python3 /usr/libexec/platform-python python3.13 python3.12 python3.11 python3.9 python3.6; do
    if command -v "$python" >/dev/null 2>&1; then exec "$python" -I -S -B "$0" "$@"; fi
done
echo "unpack: there is no Python 3.6 or later here to unpack with; use a squashfs bundle, which needs none" >&2
exit 122
'''
