# ---- becoming the command ----------------------------------------------------------------------------------
# $ws_become: words before the command that give it the job's user ID back (mounting in a user namespace needs
# root's)
# $ws_script: the activation script, where it does not lie in the environment

ws_become='' ws_script=''

# An activation script sees no arguments, and it can neither change the folder nor end this shell unnoticed.
# shellcheck disable=SC2016
ws_activate_in_bash='_wingspan=("$@") _wingspan_folder=$PWD
set --
trap '\''_wingspan=$?; echo "wingspan-start: an activation script of the environment ended its shell (exit status $_wingspan)" >&2; exit 122'\'' EXIT
. "${_wingspan[0]}"
trap - EXIT
set +eu
unset WINGSPAN_PREFIX
[ "$PWD" = "$_wingspan_folder" ] || cd "$_wingspan_folder"
exec ${_wingspan[1]} "${_wingspan[@]:2}"'
ws_launch() {
    WINGSPAN_PREFIX=$ws_prefix
    export WINGSPAN_PREFIX
    ws_script=${ws_script:-$ws_prefix/.wingspan/activate.sh}
    if [ ! -r "$ws_script" ]; then
        ws_die $ws_damaged "$ws_prefix holds no environment of Wingspan's"
    fi
    [ -z "$ws_waits" ] || : >"$ws_waits"
    # The activation scripts of packages and workspaces are written for bash.
    if grep -q -e '/activate\.d/' -e '/\.wingspan/activation/' "$ws_script" && ws_have bash; then
        exec bash -c "$ws_activate_in_bash" bash "$ws_script" "$ws_become" "$@"
    fi
    _wingspan=$ws_become
    # shellcheck disable=SC1090
    . "$ws_script"
    unset WINGSPAN_PREFIX
    # shellcheck disable=SC2086
    exec $_wingspan "$@"
}
