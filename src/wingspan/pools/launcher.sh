#!/bin/sh
# Wingspan's launcher: finds a Python for the worker on a machine that nobody has prepared.
#
#   launcher.sh 3.11 /path/on/the/access/point/python worker.pyz ARGUMENTS...
#
# The version that made the map is looked for first at the path that it has on the access point (the file
# system may be shared), then on PATH. Where there is only another version, it starts the worker, which says
# what is wrong: nothing is unpickled then.

# wingspan: ignore=goes-on-after-failure (every failure is looked at)
PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
export PATH
wingspan_wanted=$1 wingspan_preferred=$2
shift 2
wingspan_other=''
for wingspan_candidate in "$wingspan_preferred" "python$wingspan_wanted" python3 python; do
    command -v "$wingspan_candidate" >/dev/null 2>&1 || continue
    wingspan_found=$("$wingspan_candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    [ "$wingspan_found" = "$wingspan_wanted" ] && exec "$wingspan_candidate" "$@"
    [ -n "$wingspan_other" ] || wingspan_other=$wingspan_candidate
done
[ -n "$wingspan_other" ] && exec "$wingspan_other" "$@"
echo "wingspan worker: there is no Python on $(hostname): tried $wingspan_preferred, python$wingspan_wanted, python3, python on $PATH" >&2
exit 78
