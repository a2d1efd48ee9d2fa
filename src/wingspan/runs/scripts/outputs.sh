# Copies the path $1 into the folder $2, with what links lead to (find does not go around in circles). Copies
# all that can be read; fails if something cannot.
wingspan_copy() {
    mkdir -p "$2/${1%/*}"
    if [ ! -e "$2/$1" ] && [ -z "$(find "$1" -type l | head -n 1)" ]; then
        if cp -R "$1" "$2/$1" 2>/dev/null; then return; fi
    fi
    chmod -R u+rwX "$2/$1" 2>/dev/null || :
    wingspan_uncopied=$(find -L "$1" \( -type d -o -type f \) -exec sh -c 'for one; do
        if [ -d "$one" ]; then mkdir -p "$0/$one" && [ -r "$one" ] && [ -x "$one" ]
        else cp -f "$one" "$0/$one" || { rm -f "$0/$one"; false; }
        fi || echo "$one"
    done' "$2" {} + || :)
    [ -z "$wingspan_uncopied" ]
}
wingspan_lost() {
    echo "wingspan-run: the output ${1#./} does not come back whole" >&2
    wingspan_missing="$wingspan_missing${1#./}
"
}
# Copies what links below the path $1 lead to: a link alone is of no use elsewhere, and HTCondor holds jobs
# for some.
wingspan_links() {
    if [ -L "$1" ]; then
        mkdir -p "$wingspan_outputs/${1%/*}"
        if [ -d "$1" ]; then
            wingspan_leads=$(cd "$1" 2>/dev/null && pwd -P) || wingspan_leads=nowhere
            case $(cd "${1%/*}" && pwd -P)/ in "${wingspan_leads%/}"/*)
                echo "wingspan-run: the link $1 leads around in a circle: it does not come back" >&2
                return ;;
            esac
        fi
        wingspan_copy "$1" "$wingspan_outputs" || wingspan_lost "$1"
    elif [ -d "$1" ]; then
        for wingspan_path in "$1"/* "$1"/.[!.]* "$1"/..?*; do wingspan_links "$wingspan_path"; done
    fi
}
# Moves what is no link, also into a folder that is there because another output lies in it.
wingspan_place() {
    if [ -d "$1" ] && [ -d "$wingspan_outputs/$1" ] && [ ! -L "$1" ]; then
        chmod u+rwx "$1" 2>/dev/null
        for wingspan_path in "$1"/* "$1"/.[!.]* "$1"/..?*; do wingspan_place "$wingspan_path"; done
    elif [ -e "$1" ] && [ ! -L "$1" ]; then
        mkdir -p "$wingspan_outputs/${1%/*}"
        mv "$1" "$wingspan_outputs/$1" 2>/dev/null || {
            # The folder may be closed to its owner. A file that has no room goes, and leaves room for others.
            chmod -R u+rwX "$1" 2>/dev/null
            if wingspan_copy "$1" "$wingspan_outputs" 2>/dev/null || wingspan_copy "$1" "$wingspan_outputs"; then rm -rf "$1"; else wingspan_lost "$1"; fi
        }
    fi
}
# Whether a folder on the way to the path is a link: what it leads to may belong to another output.
wingspan_through_link() {
    case $1 in */*) [ "$(cd "./${1%/*}" 2>/dev/null && pwd -P)" != "$(pwd -P)/${1%/*}" ] ;; *) return 1 ;; esac
}
wingspan_keep() {
    wingspan_declared=$1
    shift
    wingspan_matched=
    for wingspan_path; do
        wingspan_path=${wingspan_path%/}
        # A pattern stands for files that the command has written, not for those of HTCondor and this script.
        if [ "$wingspan_path" != "$wingspan_declared" ]; then
            case $wingspan_path in . | .. | */. | */..) continue ;; esac
            if wingspan_ours "$wingspan_path" || ! { wingspan_through_link "$wingspan_path" || wingspan_written "$wingspan_path"; }; then continue; fi
        fi
        [ -f "$wingspan_path" ] || [ -d "$wingspan_path" ] || continue  # a pipe is no output
        wingspan_matched=yes
        if ! wingspan_through_link "$wingspan_path"; then "wingspan_$wingspan_doing" "./$wingspan_path"
        elif [ "$wingspan_doing" = links ]; then wingspan_copy "./$wingspan_path" "$wingspan_outputs" || wingspan_lost "$wingspan_path"
        fi
    done
    if [ "$wingspan_doing" = links ] && [ -z "$wingspan_matched" ]; then
        [ "$wingspan_code" -ne 0 ] || echo "wingspan-run: the output $wingspan_declared was not written" >&2
        wingspan_missing="$wingspan_missing$wingspan_declared
"
    fi
}
