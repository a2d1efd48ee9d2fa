    # What matches a pattern is gathered in the folder $2, with its path, and this is sent to $3 as one thing.
    wingspan_back=$(pwd) wingspan_given=$wingspan_outputs
    case $wingspan_outputs in /*) ;; *) wingspan_outputs=$wingspan_back/$wingspan_outputs ;; esac
    wingspan_send_matching() {
        wingspan_shown=$1 wingspan_into=$2 wingspan_url=$3
        shift 3
        for wingspan_path; do
            wingspan_path=${wingspan_path%/}
            case $wingspan_path in @OWN@@GATHERED@*) continue ;; esac
            [ -e "$wingspan_path" ] || continue
            case $wingspan_path in */*) mkdir -p "$wingspan_into/${wingspan_path%/*}" ;; *) mkdir -p "$wingspan_into" ;; esac
            mv -- "$wingspan_path" "$wingspan_into/$wingspan_path"
        done
        wingspan_send "$wingspan_into" "$wingspan_url" "$wingspan_shown"
    }
