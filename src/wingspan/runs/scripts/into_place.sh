    rm -rf "$wingspan_folder/outputs-$wingspan_job" && mv "$wingspan_outputs" "$wingspan_folder/outputs-$wingspan_job" || {  # whole, or not at all
        echo "wingspan-run: the outputs stay in $wingspan_outputs: they cannot become $wingspan_folder/outputs-$wingspan_job" >&2
        [ "$wingspan_code" -ne 0 ] || wingspan_code=@EXIT_CODE@
    }
