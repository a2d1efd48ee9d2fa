# An archive's layers become a folder, $work/root, that Apptainer and podman run as it is. Their own ways to take an archive in take
# much longer, because they make an image of it first (110 MB: 82 s for Apptainer, 20 s for podman, 4 s so). Wingspan's layers only add
# files; nothing in them takes away what an earlier one has.
unpack_layers() {
    [ -z "$work" ] || [ ! -d "$work/root" ] || return 0
    new_work_swept
    reason='no tar or gzip to unpack it with'
    have tar && have gzip || return 1
    reason='no find, without which root unpacks nothing'
    can_make_plain || return 1
    check_room
    layers=$(tar -xOf "$bundle" manifest.json 2>/dev/null | sed -n 's/.*"Layers":\[\([^]]*\)\].*/\1/p' | tr -d '" ' | tr ',' ' ')
    [ -n "$layers" ] || die $EXIT_DAMAGED "$bundle names no layers"
    mkdir "$work/root"
    for layer in $layers; do
        tar -xOf "$bundle" "$layer" 2>/dev/null | { gzip -dc || : >"$work/cut"; } 2>/dev/null | tar -xof - -C "$work/root" 2>"$work/log" ||
            : >"$work/cut"
        if [ -e "$work/cut" ]; then
            log=$(tail -n 1 "$work/log")
            # what can be read is not damaged
            { tar -xOf "$bundle" "$layer" | gzip -t; } 2>/dev/null || die $EXIT_DAMAGED "$bundle is damaged: a layer of it cannot be read"
            die $EXIT_NO_ROOM "unpacking into $work failed: $log"
        fi
    done
    plain_files_only "$work/root"
}
