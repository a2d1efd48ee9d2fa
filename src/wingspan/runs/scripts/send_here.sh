    # Outputs that go to an address are sent now. What cannot be sent comes back instead.
    wingspan_sent=
    wingspan_send() {
        [ -e "$wingspan_outputs/$1" ] || return 0
        if wingspan_why=$( (cd / && exec @PROGRAM@ "$wingspan_outputs/$1" "$2") 2>&1); then
            rm -rf "${wingspan_outputs:?}/$1"
            wingspan_sent="$wingspan_sent${3:-$1}
"
        else
            [ -z "${3:-}" ] || { cp -R "$wingspan_outputs/$1/." "$wingspan_outputs" && rm -rf "${wingspan_outputs:?}/$1"; }
            echo "wingspan-run: the output ${3:-$1} could not be sent, and comes back instead: $(printf '%s\n' "$wingspan_why" | tail -n 1)" >&2
            [ "$wingspan_code" -ne 0 ] || wingspan_code=@EXIT_CODE@
        fi
    }
@CALLS@
