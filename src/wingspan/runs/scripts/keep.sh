    for wingspan_doing in links place; do  # a link may lead to what another output moves
@EACH@
    done
