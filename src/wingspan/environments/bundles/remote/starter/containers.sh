# ---- images: sif by Apptainer, oci by whichever engine is there ---------------------------------------------------------
# A part of starter.sh, which is sent as one file.

# Folders of this machine that the command sees in the image, one a line: the job's own (its scratch folder need not be the one that
# it starts in, and chirp's cookie lies in neither), the temporary ones, and those that the command's words name.
folders=''
add_folder() {
    [ -n "$1" ] && [ -d "$1" ] || return 0
    case $1 in *[:,\"]*) return 0 ;; esac # no engine takes these in a path
    while read -r folder; do
        case $1/ in "$folder"/*) return 0 ;; esac
    done <<END
$folders
END
    folders="$folders
$1"
}
add_folders() {
    folders=/nowhere
    chirp=${_CONDOR_CHIRP_CONFIG:-} ad=${_CONDOR_JOB_AD:-}
    for place in "$PWD" "${_CONDOR_SCRATCH_DIR:-}" "${chirp%/*}" "${ad%/*}" "${SLURM_TMPDIR:-}" "${TMPDIR:-}"; do
        [ "$place" = / ] || add_folder "$place"
    done
}
add_named_folders() {
    for word in "$bundle" "$@"; do
        case $word/ in # the image has its own of these
        // | /root/ | /bin/* | /boot/* | /dev/* | /etc/* | /lib/* | /lib32/* | /lib64/* | /libx32/* | /proc/*) continue ;;
        /run/* | /sbin/* | /sys/* | /usr/*) continue ;;
        /*) [ -d "$word" ] || word=${word%/*} ;;
        *) continue ;;
        esac
        case $prefix/ in "$word"/*) continue ;; esac
        add_folder "$word"
    done
}

# The first thing done in a container is to empty $work/.waits. While there is something in it the command has not begun, and nothing
# is lost by another way. (Emptied, not made or removed: this needs no room on the disk, and no program.)
begins() {
    add_folder "$work"
    case $work in *[:,\"]*) return 0 ;; esac # the container does not see it
    waits="/bin/sh -c ': >\"\$0\"; exec \"\$@\"' $(quoted "$work/.waits")"
}

# $line: words of a shell that run a command in $1, an image or a folder with one
by_apptainer() {
    begins
    line="exec $program -s exec --pwd $(quoted "$PWD")"
    while read -r folder; do
        case $folder in '' | /nowhere) ;; *) line="$line --bind $(quoted "$folder")" ;; esac
    done <<END
$folders
END
    [ -e /dev/nvidiactl ] && line="$line --nv"
    [ -e /dev/kfd ] && line="$line --rocm"
    line="$line $(quoted "$1") $waits"
}

start_sif() {
    for program in apptainer singularity ''; do have "$program" && break; done
    [ -n "$program" ] || die $EXIT_NO_WAY "there is no Apptainer here to run $bundle"
    add_folders
    add_named_folders "$@"
    new_work_swept
    by_apptainer "$bundle"
    if [ -z "$forgotten" ]; then
        doubt="$line true"
        say "sif: run by Apptainer"
    else
        works Apptainer || die $EXIT_NO_WAY "nothing here runs $bundle: $reason"
    fi
    stay "$@"
}
