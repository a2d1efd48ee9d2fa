# ---- Large inputs come from a store, under names that say their content: here they get their own -----------
wingspan_place() {
    case $2 in */*) mkdir -p "${2%/*}" ;; esac
    if [ -e "$1" ] && [ -n "${3:-}" ]; then
        cp -p "$1" "$2" # it is another input, too
    elif [ -e "$1" ]; then
        mv "$1" "$2"
    elif [ ! -e "$2" ]; then # it is there where the job was started again
        echo "wingspan-run: the input $2 was not brought to the job" >&2
    fi
}
@CALLS@
