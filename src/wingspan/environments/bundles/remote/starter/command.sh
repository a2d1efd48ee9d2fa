# ---- becoming the command --------------------------------------------------------------------------------------------
# $become: words put before the command, to leave the root identity that a user namespace needs for mounting
# $script: what activates the environment, where it is not in it

become='' script=''

# Activation scripts see no arguments; the variables, the folder and the end of this shell are none of their business.
# shellcheck disable=SC2016
activate_in_bash='_wingspan=("$@") _wingspan_folder=$PWD
set --
trap '\''_wingspan=$?; echo "wingspan-start: an activation script of the environment ended its shell (exit status $_wingspan)" >&2; exit 122'\'' EXIT
. "${_wingspan[0]}"
trap - EXIT
set +eu
unset WINGSPAN_PREFIX
[ "$PWD" = "$_wingspan_folder" ] || cd "$_wingspan_folder"
exec ${_wingspan[1]} "${_wingspan[@]:2}"'
launch() {
    WINGSPAN_PREFIX=$prefix
    export WINGSPAN_PREFIX
    script=${script:-$prefix/.wingspan/activate.sh}
    if [ ! -r "$script" ]; then
        die $EXIT_DAMAGED "$prefix holds no environment of Wingspan's"
    fi
    [ -z "$waits" ] || : >"$waits"
    # Packages' own activation scripts, and a workspace's, are written for bash.
    if grep -q -e '/activate\.d/' -e '/\.wingspan/activation/' "$script" && have bash; then
        exec bash -c "$activate_in_bash" bash "$script" "$become" "$@"
    fi
    _wingspan=$become
    # shellcheck disable=SC1090
    . "$script"
    unset WINGSPAN_PREFIX
    # shellcheck disable=SC2086
    exec $_wingspan "$@"
}
