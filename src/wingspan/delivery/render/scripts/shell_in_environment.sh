# A .bashrc (of pyenv, conda) may put other programs before those of the environment: PATH is set again after
# it.
case ${1##*/} in
bash)
    export WINGSPAN_PATH="$PATH" WINGSPAN_SHELL_PREFIX="${CONDA_PREFIX:-}"
    if wingspan_rc=$(mktemp); then
        printf "%s\n" "rm -f \"$wingspan_rc\"" "[ ! -r ~/.bashrc ] || . ~/.bashrc" "PATH=\$WINGSPAN_PATH" \
            "[ -z \"\$WINGSPAN_SHELL_PREFIX\" ] || CONDA_PREFIX=\$WINGSPAN_SHELL_PREFIX" \
            "unset WINGSPAN_PATH WINGSPAN_SHELL_PREFIX" >"$wingspan_rc"
        exec "$1" --rcfile "$wingspan_rc" -i
    fi
    ;;
esac
exec "$1" -i
