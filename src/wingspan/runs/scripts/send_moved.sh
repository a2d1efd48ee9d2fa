    # Outputs that go to an address: HTCondor sends what lies here.
    wingspan_sent=
    wingspan_send() {
        [ ! -e "$wingspan_outputs/$1" ] || wingspan_sent="$wingspan_sent${3:-$1}
"
    }
@CALLS@
