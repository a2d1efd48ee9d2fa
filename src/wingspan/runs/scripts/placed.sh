# ---- Large inputs come from a store, under names that say their content: here they get their own -----------
wingspan_place() {
    if [ -e "$1" ]; then
        case $2 in */*) mkdir -p "${2%/*}" ;; esac
        mv "$1" "$2"
    fi
}
@CALLS@
