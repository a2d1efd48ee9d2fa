# ---- A folder of the job's own on this machine: inputs are copied into it, outputs go back at the end ------
wingspan_folder=@FOLDER@
# TMPDIR may be that of another machine.
wingspan_scratch=/tmp
for wingspan_place in "${TMPDIR:-}" "${SLURM_TMPDIR:-}"; do
    if [ -d "$wingspan_place" ] && [ -w "$wingspan_place" ]; then wingspan_scratch=$wingspan_place; fi
done
wingspan_scratch=$(mktemp -d "$wingspan_scratch/wingspan-run.XXXXXX")
trap 'rm -rf "$wingspan_scratch"' EXIT
if [ -d "$wingspan_folder/inputs" ]; then cp -R "$wingspan_folder/inputs/." "$wingspan_scratch/"; fi
cd "$wingspan_scratch"
