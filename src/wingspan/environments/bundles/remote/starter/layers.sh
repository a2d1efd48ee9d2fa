# Unpacks the layers of an archive into one folder, $ws_work/root, which Apptainer and podman run as it is.
# Given the archive they would make an image of it first, which takes longer (110 MB: Apptainer 82 s, podman
# 20 s, this 4 s). Wingspan's layers only add files: none removes what an earlier one has.
ws_unpack_layers() {
    [ -z "$ws_work" ] || [ ! -d "$ws_work/root" ] || return 0
    ws_new_work_swept
    ws_reason='no tar or gzip to unpack it with'
    ws_have tar && ws_have gzip || return 1
    ws_reason='no find, without which root unpacks nothing'
    ws_can_make_plain || return 1
    ws_check_room
    ws_layers=$(tar -xOf "$ws_bundle" manifest.json 2>/dev/null | sed -n 's/.*"Layers":\[\([^]]*\)\].*/\1/p' | tr -d '" ' | tr ',' ' ')
    [ -n "$ws_layers" ] || ws_die $ws_damaged "$ws_bundle names no layers"
    mkdir "$ws_work/root"
    for ws_layer in $ws_layers; do
        tar -xOf "$ws_bundle" "$ws_layer" 2>/dev/null | { gzip -dc || : >"$ws_work/cut"; } 2>/dev/null | tar -xof - -C "$ws_work/root" 2>"$ws_work/log" ||
            : >"$ws_work/cut"
        if [ -e "$ws_work/cut" ]; then
            ws_log=$(tail -n 1 "$ws_work/log")
            # A layer that can be read is not damaged: then it could not be written.
            { tar -xOf "$ws_bundle" "$ws_layer" | gzip -t; } 2>/dev/null || ws_die $ws_damaged "$ws_bundle is damaged: a layer of it cannot be read"
            ws_die $ws_no_room "unpacking into $ws_work failed: $ws_log"
        fi
    done
    ws_plain_files_only "$ws_work/root"
}
