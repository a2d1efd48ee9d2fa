self=$0
while [ $# -gt 0 ]; do
    case $1 in
    --quiet) quiet=1 && shift && continue ;;
    --) shift && break ;;
    esac
    [ $# -ge 2 ] || die 2 "option $1 needs a value"
    case $1 in
    --bundle) bundle=$2 ;;
    --sha256) sha256=$2 ;;
    --kind) kind=$2 ;;
    --prefix) prefix=$2 ;;
    --helper) helper=$2 ;;
    --helper-sha256) helper_sha256=$2 ;;
    --installed) installed=$2 ;;
    --method) method=$2 ;;
    --stage) stage=$2 ;;
    --work) work=$2 ;;
    --uid) uid=$2 ;;
    --gid) gid=$2 ;;
    --others) others=$2 ;;
    --line) line=$2 ;;
    --clear) clear=$2 ;;
    --doubt) doubt=$2 ;;
    --known) known=$2 ;;
    --waits) waits=$2 ;;
    *) die 2 "unknown option $1" ;;
    esac
    shift 2
done
[ $# -gt 0 ] || die 2 "no command was given"

absolute() {
    case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
self=$(absolute "$self") bundle=$(absolute "$bundle") helper=$(absolute "$helper")
