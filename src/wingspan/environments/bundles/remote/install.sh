#!/usr/bin/env bash
@MARK@
# Installs a locked environment with Pixi: bash THIS -o FOLDER -e NAME makes FOLDER/NAME and FOLDER/activate.sh.
# It takes the Pixi that $PIXI names, that of PATH, or that of ~/.pixi/bin, if it is new enough for this lock.
# Otherwise it fetches version @VERSION@ ($PIXI_REPOURL: a mirror of Pixi's releases; $PIXI_SHA256: the digest
# that it must have, instead of the one that lies beside it there).
# Exit codes: 121 what was fetched is damaged, 122 it does not work here; the last line on standard error is
# the reason.
set -euo pipefail

folder=. name=env
while [ $# -gt 0 ]; do
    case $1 in
    -o) folder=$2 ;;
    -e) name=$2 ;;
    *)
        echo "install: unknown option $1" >&2
        exit 2
        ;;
    esac
    shift 2
done
case $name in '' | . | .. | */*)
    echo "install: -e '$name' is no name for the environment's folder" >&2
    exit 2
    ;;
esac
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ -e "$folder/$name" ]; then
    echo "install: $folder/$name exists; choose another place with -o or -e" >&2
    exit 2
fi

give_up() {
    local code=$1
    shift
    echo "install: $*" >&2
    exit "$code"
}

# ---- a Pixi that can read this lock ------------------------------------------------------------------------
oldest=@OLDEST@
at_least() { [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

home=${HOME:-$(getent passwd "$(id -u)" 2>/dev/null | cut -d: -f6)} || home=
pixi='' lacking='there is no pixi here'
for candidate in "${PIXI:-}" "$(command -v pixi || true)" "${PIXI_HOME:-$home/.pixi}/bin/pixi"; do
    [ -n "$candidate" ] && [ -x "$candidate" ] || continue
    version=$("$candidate" --version 2>/dev/null | sed -n '1s/^pixi \([0-9][0-9.]*\).*/\1/p') || version=
    if [ -z "$version" ]; then
        lacking="$candidate does not run"
    elif ! at_least "$oldest" "$version"; then
        lacking="$candidate is version $version, and this lock needs $oldest or newer"
    else
        pixi=$candidate
        break
    fi
done

# Gives up on an address that does not answer in eight seconds: the job may have no network.
fetch() {
    if command -v curl >/dev/null; then
        curl -fsSL --connect-timeout 8 --speed-limit 1 --speed-time 30 "$1" -o "$2" 2>&1
    elif command -v wget >/dev/null; then
        wget -q --tries=1 --timeout=8 "$1" -O "$2" 2>&1 || { echo "wget ended with $?" && false; }
    else
        echo "there is neither curl nor wget" && false
    fi
}
if [ -z "$pixi" ]; then
    address=${PIXI_REPOURL:-https://github.com/prefix-dev/pixi}/releases/download/v@VERSION@/pixi-$(uname -m)-unknown-linux-musl
    pixi=$folder/.pixi-program version=@VERSION@
    echo "install: $lacking; fetching $address" >&2
    [ -z "${PIXI_SHA256:-}" ] || printf '%s\n' "$PIXI_SHA256" >"$pixi.sha256"
    if ! said=$(fetch "$address" "$pixi.part") || { [ -z "${PIXI_SHA256:-}" ] && ! said=$(fetch "$address.sha256" "$pixi.sha256"); }; then
        give_up 122 "$lacking, and $address cannot be fetched: ${said//$'\n'/ }; bundles of other kinds need no network"
    fi
    if [ "$(sha256sum <"$pixi.part" | cut -d' ' -f1)" != "$(cut -c1-64 "$pixi.sha256")" ]; then
        give_up 121 "$address is damaged: its SHA-256 is not ${PIXI_SHA256:+\$PIXI_SHA256, }${PIXI_SHA256:-the one beside it}; nothing in it was run"
    fi
    chmod +x "$pixi.part"
    mv "$pixi.part" "$pixi"
    "$pixi" --version >/dev/null 2>&1 || give_up 122 "$address does not run on this machine"
fi
echo "install: with $pixi, version $version" >&2

# ---- what the lock names, and nothing else -----------------------------------------------------------------
workspace=$folder/.workspace-$name
mkdir -p "$workspace"
base64 -d >"$workspace"/@MANIFEST_NAME@ <<'END'
@MANIFEST@
END
base64 -d >"$workspace/pixi.lock" <<'END'
@LOCK@
END
# Activation scripts of the workspace lie where the manifest says.
@SCRIPTS@
# Pixi chooses the platform by the CUDA that it sees: it is to see what the lock was made for, not this
# machine's. The cache lies beside the environment: files are linked, not copied, and it goes with the job.
export CONDA_OVERRIDE_CUDA=@CUDA@
export PIXI_CACHE_DIR=${PIXI_CACHE_DIR:-$folder/.pixi-cache} PIXI_FROZEN=true HOME=${HOME:-$folder}
of=(--frozen --environment @ENVIRONMENT@ --manifest-path "$workspace"/@MANIFEST_NAME@)
{ "$pixi" install "${of[@]}" @SKIPPED@ 2>&1 && test -d "$workspace/.pixi/envs/"@ENVIRONMENT@; } | tee "$folder/.said" >&2 || {
    reason=$(grep -v '^[[:space:]]*$' "$folder/.said" | tail -n 4 | tr -s '\n\t ' ' ' | cut -c1-500) || reason=
    give_up 122 "pixi $version could not install the environment "@ENVIRONMENT@" from the lock: ${reason:-it said nothing}"
}
ln -s "$workspace/.pixi/envs/"@ENVIRONMENT@ "$folder/$name"
"$pixi" shell-hook "${of[@]}" @AS_IT_IS@ --shell bash >"$folder/activate.sh" ||
    give_up 122 "pixi $version installed the environment "@ENVIRONMENT@" and cannot activate it"
printf '%s\n' 'unset '@ISOLATED_FROM@ 'export PYTHONNOUSERSITE=1' >>"$folder/activate.sh"
