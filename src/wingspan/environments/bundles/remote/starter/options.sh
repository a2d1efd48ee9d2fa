ws_absolute() {
    case $1 in
    '' | /*) printf '%s' "$1" ;;
    *) printf '%s/%s' "$PWD" "$1" ;;
    esac
}
ws_self=$0
while [ $# -gt 0 ]; do
    case $1 in
    --quiet) ws_quiet=1 && shift && continue ;;
    --) shift && break ;;
    esac
    [ $# -ge 2 ] || ws_die 2 "option $1 needs a value"
    case $1 in
    --bundle) ws_bundle=$2 ;;
    --sent) ws_sent=$2 ;;
    --sha256) ws_sha256=$2 ;;
    --kind) ws_kind=$2 ;;
    --prefix) ws_prefix=$2 ;;
    --helper) ws_helper=$2 ;;
    --helper-sha256) ws_helper_sha256=$2 ;;
    --installed) ws_installed=$2 ;;
    --layer) ws_layers="$ws_layers $(ws_quoted "$(ws_absolute "$2")")" ;; # quoted words: a file, its digest
    --layer-sha256) ws_layers="$ws_layers $(ws_quoted "$2")" ;;
    --base) ws_basis=$2 ;;
    --delta) ws_delta=$2 ;;
    --delta-sha256) ws_delta_sha256=$2 ;;
    --method) ws_method=$2 ;;
    --stage) ws_stage=$2 ;;
    --work) ws_work=$2 ;;
    --uid) ws_uid=$2 ;;
    --gid) ws_gid=$2 ;;
    --others) ws_others=$2 ;;
    --line) ws_line=$2 ;;
    --clear) ws_clear=$2 ;;
    --doubt) ws_doubt=$2 ;;
    --lost) ws_lost=$2 ;;
    --known) ws_known=$2 ;;
    --waits) ws_waits=$2 ;;
    *) ws_die 2 "unknown option $1" ;;
    esac
    shift 2
done
[ $# -gt 0 ] || ws_die 2 "no command was given"

ws_self=$(ws_absolute "$ws_self") ws_bundle=$(ws_absolute "$ws_bundle") ws_helper=$(ws_absolute "$ws_helper")
ws_basis=$(ws_absolute "$ws_basis") ws_delta=$(ws_absolute "$ws_delta")
