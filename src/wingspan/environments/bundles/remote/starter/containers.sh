# ---- images: sif by Apptainer, oci by whichever engine is there --------------------------------------------

# $ws_folders: folders of this machine that the command sees in the image, one in each line. These are the
# job's own (where it starts, its scratch folder, and where chirp's cookie lies may be three), the temporary
# ones, and those that the command's words name.
ws_folders=''
ws_add_folder() {
    [ -n "$1" ] && [ -d "$1" ] || return 0
    case $1 in *[:,\"]*) return 0 ;; esac # no engine takes these in a path
    while read -r ws_folder; do
        case $1/ in "$ws_folder"/*) return 0 ;; esac
    done <<END
$ws_folders
END
    ws_folders="$ws_folders
$1"
}
ws_add_folders() {
    ws_folders=/nowhere
    ws_chirp=${_CONDOR_CHIRP_CONFIG:-} ws_ad=${_CONDOR_JOB_AD:-}
    for ws_place in "$PWD" "${_CONDOR_SCRATCH_DIR:-}" "${ws_chirp%/*}" "${ws_ad%/*}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}"; do
        [ "$ws_place" = / ] || ws_add_folder "$ws_place"
    done
}
ws_add_named_folders() {
    for ws_word in "$ws_bundle" "$@"; do
        case $ws_word/ in # the image has its own of these
        // | /root/ | /bin/* | /boot/* | /dev/* | /etc/* | /lib/* | /lib32/* | /lib64/* | /libx32/* | /proc/*) continue ;;
        /run/* | /sbin/* | /sys/* | /usr/*) continue ;;
        /*) [ -d "$ws_word" ] || ws_word=${ws_word%/*} ;;
        *) continue ;;
        esac
        case $ws_prefix/ in "$ws_word"/*) continue ;; esac
        ws_add_folder "$ws_word"
    done
}

# A container first empties $ws_work/.waits. While something is in that file the command has not begun, and
# the starter may try another way. (Emptying a file needs neither room on the disk nor a program.)
ws_begins() {
    ws_add_folder "$ws_work"
    case $ws_work in *[:,\"]*) return 0 ;; esac # the container does not see it
    ws_waits="/bin/sh -c ': >\"\$0\"; exec \"\$@\"' $(ws_quoted "$ws_work/.waits")"
}

# Sets $ws_line to shell that runs a command in $1, an image or its unpacked folder.
ws_by_apptainer() {
    ws_begins
    ws_line="exec $ws_program -s exec --pwd $(ws_quoted "$PWD")"
    while read -r ws_folder; do
        case $ws_folder in '' | /nowhere) ;; *) ws_line="$ws_line --bind $(ws_quoted "$ws_folder")" ;; esac
    done <<END
$ws_folders
END
    [ -e /dev/nvidiactl ] && ws_line="$ws_line --nv"
    [ -e /dev/kfd ] && ws_line="$ws_line --rocm"
    ws_line="$ws_line $(ws_quoted "$1") $ws_waits"
}

ws_start_sif() {
    for ws_program in apptainer singularity ''; do ws_have "$ws_program" && break; done
    [ -n "$ws_program" ] || ws_die $ws_no_way "there is no Apptainer here to run $ws_bundle"
    ws_add_folders
    ws_add_named_folders "$@"
    ws_new_work_swept
    ws_by_apptainer "$ws_bundle"
    if [ -z "$ws_forgotten" ]; then
        ws_doubt="$ws_line true"
        ws_say "sif: run by Apptainer"
    else
        ws_works Apptainer || ws_die $ws_no_way "nothing here runs $ws_bundle: $ws_reason"
    fi
    ws_stay "$@"
}
