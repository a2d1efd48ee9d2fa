wingspan_again=@CODE@ wingspan_stopping=
trap 'wingspan_stopping=yes; wingspan_stop' TERM INT
while :; do
    wingspan_attempt "$@"
    [ "$wingspan_code" -eq "$wingspan_again" ] || break
    wingspan_keep_checkpoint
    [ -z "$wingspan_stopping" ] || exit "$wingspan_again"
done
