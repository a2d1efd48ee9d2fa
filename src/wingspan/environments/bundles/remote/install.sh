#!/usr/bin/env bash
@MARK@
# Installs a locked environment with Pixi:  bash THIS -o FOLDER -e NAME   makes FOLDER/NAME and FOLDER/activate.sh
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
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
if [ -e "$folder/$name" ]; then
    echo "install: $folder/$name exists; choose another place with -o or -e" >&2
    exit 2
fi

pixi=${PIXI:-$(command -v pixi || true)}
if [ -z "$pixi" ]; then
    address=https://github.com/prefix-dev/pixi/releases/download/v@VERSION@/pixi-$(uname -m)-unknown-linux-musl
    pixi=$folder/.pixi-program
    if ! { curl -fsSL "$address" -o "$pixi.part" && curl -fsSL "$address.sha256" -o "$pixi.sha256"; } then
        echo "install: there is no pixi here, and $address cannot be fetched" >&2
        exit 122
    fi
    if [ "$(sha256sum <"$pixi.part" | cut -d' ' -f1)" != "$(cut -c1-64 "$pixi.sha256")" ]; then
        echo "install: $address is damaged" >&2
        exit 121
    fi
    chmod +x "$pixi.part"
    mv "$pixi.part" "$pixi"
fi

workspace=$folder/.workspace-$name
mkdir -p "$workspace"
base64 -d >"$workspace/@MANIFEST_NAME@" <<'END'
@MANIFEST@
END
base64 -d >"$workspace/pixi.lock" <<'END'
@LOCK@
END
# the cache beside the environment: hard links instead of copies, and gone with the job
export PIXI_CACHE_DIR=${PIXI_CACHE_DIR:-$folder/.pixi-cache} PIXI_FROZEN=true
"$pixi" install --frozen --environment @ENVIRONMENT@ --manifest-path "$workspace/@MANIFEST_NAME@" >&2
ln -s "$workspace/.pixi/envs/"@ENVIRONMENT@ "$folder/$name"
"$pixi" shell-hook --frozen --environment @ENVIRONMENT@ --shell bash --manifest-path "$workspace/@MANIFEST_NAME@" \
    >"$folder/activate.sh"
