# ---- Can the environment use this GPU? Found out now, and not after an hour --------------------------------
wingspan_preflight() {
    command -v nvidia-smi >/dev/null 2>&1 || {
        echo "wingspan-run: this job asked for @GPUS_TEXT@, and $(hostname) has no nvidia-smi:" \
            "no NVIDIA driver is installed, or the container was started without it (apptainer: --nv)" >&2
        return 1
    }
    wingspan_query=name,compute_cap,driver_version,uuid,index,memory.total
    # Drivers before 510 do not tell the capability: it is not judged then.
    wingspan_devices=$(nvidia-smi --query-gpu="$wingspan_query" --format=csv,noheader 2>/dev/null ||
        nvidia-smi --query-gpu="name,pstate${wingspan_query#name,compute_cap}" --format=csv,noheader 2>&1) || {
        echo "wingspan-run: the NVIDIA driver of $(hostname) does not answer: $wingspan_devices" >&2
        return 1
    }
    # The highest CUDA runtime that the driver supports stands in nvidia-smi's heading.
    wingspan_runtime=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\([0-9.]*\).*/\1/p' | head -n 1)
    # nvidia-smi lists all devices of the machine; CUDA_VISIBLE_DEVICES names those of this job.
    printf '%s\n' "$wingspan_devices" | awk -F', *' -v host="$(hostname)" -v runtime="$wingspan_runtime" \
        -v visible="${CUDA_VISIBLE_DEVICES:-}" -v wanted="$wingspan_gpus" \
        -v lowest=@LOWEST@ -v highest=@HIGHEST@ -v cuda=@RUNTIME@ -v memory=@MEMORY@ '
        function number(version, part) { split(version, part, "."); return part[1] * 1000 + part[2] }
        function bad(what) { why = why "wingspan-run: " $1 " on " host " " what "\n" }
        BEGIN { count = split(visible, given, ",") }
        {
            why = ""
            known = ($2 ~ /^[0-9]+\.[0-9]+$/)
            if (known && lowest != "" && number($2) < number(lowest))
                bad("has compute capability " $2 "; the environment was compiled for " lowest " and higher")
            if (known && highest != "" && number($2) > number(highest))
                bad("has compute capability " $2 "; the environment was compiled for " highest " at most")
            if (cuda != "" && runtime != "" && number(runtime) < number(cuda))
                bad("has the driver " $3 ", which supports CUDA up to " runtime "; the environment needs " cuda)
            if (memory != "" && $6 + 0 > 0 && $6 + 0 < memory + 0)
                bad("has " $6 " of memory; " memory " MiB are asked for")
            mine = 0
            for (i = 1; i <= count; i++)
                if (given[i] == $5 || (length(given[i]) > 4 && index($4, given[i]) == 1)) mine = 1
            listed++
            if (why == "") good++
            else said = said why
            if (mine) {
                own++
                if (why == "") own_good++
                else own_said = own_said why
            }
        }
        END {
            if (own) { listed = own; good = own_good; said = own_said }
            else if (count) wanted = 1  # parts of a device have names of their own (MIG)
            if (good >= wanted) exit 0
            printf "%s", said
            if (listed < wanted)
                printf "wingspan-run: this job asked for %d GPU%s, and %s %d on %s\n", wanted, \
                    (wanted == 1 ? "" : "s"), (listed == 1 ? "there is" : "there are"), listed, host
            exit 1
        }' >&2
}
[ -n "${wingspan_gpus:-}" ] || wingspan_gpus=@GPUS@
[ "$wingspan_gpus" = 0 ] || wingspan_preflight || wingspan_finish @CODE@
