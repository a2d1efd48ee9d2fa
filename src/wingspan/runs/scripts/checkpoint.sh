# ---- Checkpoints: one folder holds them with their paths, which HTCondor would not keep --------------------
wingspan_kept_checkpoint=@FOLDER@
if [ -d "$wingspan_kept_checkpoint" ]; then cp -R "$wingspan_kept_checkpoint/." .; fi
wingspan_keep_checkpoint() {
    rm -rf "$wingspan_kept_checkpoint.new"
    mkdir -p "$wingspan_kept_checkpoint.new"
    set -- @PATHS@
    for wingspan_path; do
        [ -e "$wingspan_path" ] || {
            echo "wingspan-run: the command says that it has a checkpoint, and $wingspan_path was not written" >&2
            wingspan_finish @EXIT_CODE@
        }
        wingspan_copy "./$wingspan_path" "$wingspan_kept_checkpoint.new" || {
            echo "wingspan-run: the checkpoint $wingspan_path cannot be kept whole" >&2
            wingspan_finish @EXIT_CODE@
        }
    done
    rm -rf "$wingspan_kept_checkpoint"
    mv "$wingspan_kept_checkpoint.new" "$wingspan_kept_checkpoint"
}
