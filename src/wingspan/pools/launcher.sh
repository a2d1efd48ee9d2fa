#!/bin/sh
# Wingspan's launcher: finds a Python for the worker on a machine that we know nothing of.
#
#   launcher.sh 3.11 /path/on/the/access/point/python worker.pyz ARGUMENTS...
#
# The version that made the map is preferred, first at the path it has on the access point (a shared file system), then on PATH. With another
# version the worker is started all the same: it says politely what is wrong, and nothing is unpickled.

# wingspan: ignore=goes-on-after-failure (every failure is looked at)
PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
export PATH
wanted=$1 preferred=$2
shift 2
other=''
for candidate in "$preferred" "python$wanted" python3 python; do
    command -v "$candidate" >/dev/null 2>&1 || continue
    found=$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    [ "$found" = "$wanted" ] && exec "$candidate" "$@"
    [ -n "$other" ] || other=$candidate
done
[ -n "$other" ] && exec "$other" "$@"
echo "wingspan worker: there is no Python on $(hostname): tried $preferred, python$wanted, python3, python on $PATH" >&2
exit 78
