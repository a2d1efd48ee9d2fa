"""Words of other tools, and what they are called here: HTMap, dask, joblib, concurrent.futures, HTCondor,
Slurm, SGE, Pixi, git, Docker.

Asked only when a word is not known: each answer is a hint in a message.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from wingspan._words import nearest

__all__ = [
    "COMMANDS",
    "hint_for_attribute",
    "hint_for_command",
    "hint_for_name",
    "hint_for_option",
    "hint_for_switch",
]


def _table(*rows: tuple[str, str]) -> dict[str, str]:
    """``("word other …", "answer")`` as a dict from each word."""
    return {word: answer for words, answer in rows for word in words.split()}


#: Options of maps and of runs -> the option here.
_OPTIONS = _table(
    (
        "cpus cpu cores core ncpus ncores n_cpus n_cores num_cpus cpus_per_task cpus_per_worker threads nthreads threads_per_worker ppn "
        "ntasks_per_node cpu_count request_cpu",
        "request_cpus",
    ),
    (
        "memory mem ram mem_per_cpu mem_per_node memory_limit maxmem request_mem vmem worker_memory memory_per_worker h_vmem mem_mb",
        "request_memory",
    ),
    ("disk storage scratch tmp request_storage local_directory disk_mb", "request_disk"),
    ("gpus gpu ngpus n_gpus num_gpus gres gpus_per_task gpus_per_node request_gpu", "request_gpus"),
    (
        "walltime wall_time timelimit time_limit timeout runtime max_runtime max_time maxtime h_rt time_min duration allowed_execute_duration",
        "time",
    ),
    (
        "n_jobs njobs n_workers nworkers num_workers max_workers processes nprocs jobs ntasks array_parallelism parallelism concurrency "
        "max_jobs maximum_jobs",
        "workers",
    ),
    (
        "chunksize chunk_size chunks batch_size batch npartitions partition_size max_nbytes blocks",
        "block_size",
    ),
    ("retry max_retries n_retries max_retry attempts", "retries"),
    (
        "env conda conda_env conda_environment venv virtualenv pixi docker_image container container_image image singularity_image "
        "singularity apptainer environment_name delivery",
        "environment",
    ),
    ("requirement", "requirements"),
    ("custom_options attributes classad", "custom"),
    (
        "accounting_group accounting_group_user queue_name project job_extra job_extra_directives condor_options submit_options "
        "priority rank concurrency_limits",
        "submit",
    ),
    (
        "partition account qos reservation constraint constraints nodelist exclude exclusive licenses slurm_partition slurm_account "
        "slurm_qos slurm_constraint slurm_additional_parameters additional_parameters sbatch_options slurm_options",
        "sbatch",
    ),
    ("site", "profile"),
)
#: How an option is written here.
_EXAMPLES = {
    "request_cpus": "Options(request_cpus=2)",
    "request_memory": 'Options(request_memory="2GB")',
    "request_disk": 'Options(request_disk="10GB")',
    "request_gpus": "Options(request_gpus=1)",
    "time": 'Options(time="2h")',
    "workers": "Options(workers=2)",
    "block_size": "Options(block_size=10)",
    "retries": "Options(retries=2)",
    "environment": 'Options(environment="gpu")',
    "requirements": 'Options(requirements="HasSingularity")',
    "custom": 'Options(custom={"WantGPULab": True})',
    "submit": 'Options(submit={"accounting_group": "physics"})',
    "sbatch": 'Options(sbatch={"account": "physics"})',
    "profile": 'Options(profile="chtc")',
}
#: Arguments of `wingspan.map` and its like that are called otherwise, or are somewhere else.
_ARGUMENTS = _table(
    ("name label job_name jobname key id map_id", 'the name of a map is its tag: tag="sweep"'),
    (
        "backend cluster scheduler executor client engine platform where",
        'the pool is named: pool="local", "personal", "htcondor" or "slurm"',
    ),
    ("map_options opts options_dict resources", "write options=wingspan.Options(request_cpus=2)"),
    ("verbose progress progress_bar show_progress quiet", "m.wait(progress=True) draws a progress bar"),
    ("return_as ordered callback on_done", "m.iter_as_available() gives outputs as they come"),
    (
        "overwrite force replace",
        "wingspan.remove(tag, missing_ok=True) takes an older map away; exist_ok=True takes it up again",
    ),
    (
        "input_files fixed_input_files files upload_file inputs_files",
        'files for all components: options=wingspan.Options(input_files=["data.csv"]); for one: pass wingspan.TransferPath("data.csv")',
    ),
    (
        "output_files outputs transfer_output_files",
        'the function sends its files: wingspan.component().transfer_output_files("out.csv"); m.output_files[i] is the folder that they are in',
    ),
    ("args kwargs", "wingspan.starmap(f, args=[(1, 2)], kwargs=[{…}]) passes several arguments"),
    (
        "initializer initargs preload",
        "make what is needed inside the function, or cache it there with functools.cache",
    ),
)
#: What somebody may ask of a map -> what it is called here.
_ATTRIBUTES = _table(
    (
        "result results gather compute outputs values",
        "m[i] is an output, list(m) are all of them; both wait",
    ),
    (
        "get_err error_reports error exceptions exception traceback",
        "m.errors[i] is what failed, m.errors[i].report() says all of it",
    ),
    ("done ready successful finished is_active", "m.is_done, m.status()"),
    ("component_statuses state states", "m.statuses, m.status()"),
    ("suspend", "m.pause()"),
    ("unpause continue_", "m.resume()"),
    (
        "kill stop abort delete terminate shutdown close rm",
        "m.remove() ends its jobs and removes it; m.cancel() keeps what is finished; m.hold() only stops it",
    ),
    ("retry resubmit restart redo again", "m.rerun(m.errors) does what failed again"),
    ("rename name set_tag label", "m.tag is its name, m.retag('other') changes it"),
    ("runtime times durations", "m.runtimes[i].wall and .cpu are seconds"),
    ("memory_usage max_memory", "m.memory[i] is the peak in bytes"),
    ("set_options", "m.set_memory(…), m.set_disk(…), or m.rerun(options=…)"),
    ("inputs args", "m.input(i), m.iter_inputs()"),
    ("stdout_of out logs log printed", "m.stdout(i), m.stderr(i)"),
    ("as_completed imap_unordered iter_completed", "m.iter_as_available()"),
    ("scale adapt add_worker", "m.add_workers(4)"),
    ("join wait_for", "m.wait()"),
    ("hold_report", "m.holds"),
)
_RUN_ATTRIBUTES = _table(
    (
        "result results output download copy",
        "run.outputs() are the files of a job that has ended, run.fetch('.') copies them here",
    ),
    ("errors error exception", "run.status() says what failed and why, run.stderr() what it printed"),
    ("done ready finished is_done state", "run.status().is_done, run.status().state"),
    ("pause suspend", "run.hold()"),
    ("resume unpause", "run.release()"),
    (
        "kill stop abort delete terminate rm",
        "run.remove() ends its jobs and removes it; run.cancel() keeps what is there; run.hold() only stops it",
    ),
    ("retry resubmit restart again", "run.rerun()"),
    ("tag id label", "run.name"),
    ("logs log out printed", "run.stdout(), run.stderr(), run.follow()"),
    ("jobs components", "run.status().jobs"),
    ("join result_wait", "run.wait()"),
    ("args inputs parameters", "run.spec"),
)
#: Options of runs, by those of maps.
_OF_RUNS = {
    "request_cpus": "cpus",
    "request_memory": "memory",
    "request_disk": "disk",
    "request_gpus": "gpus",
    "tag": "name",
}
_RUN_ARGUMENTS = _table(
    ("input input_files files upload transfer_input_files", "inputs"),
    ("output output_files results transfer_output_files", "outputs"),
    ("tag label job_name jobname", "name"),
    ("cwd folder directory path dir workdir working_dir", "workspace"),
    ("environ envvars env_vars variables_ set", "variables"),
    ("parameters params grid array sweeps", "sweep"),
    ("args argv", "arguments"),
    ("cmd task script", "command"),
    ("csv params_file", "sweep_file"),
    ("switch", "switches"),
    ("backend cluster scheduler executor engine", "pool"),
)


def hint_for_run_argument(name: str, known: Iterable[str]) -> str:
    """What an unknown argument of `wingspan.run` may have meant."""
    known, low = list(known), name.lower()
    meant = _RUN_ARGUMENTS.get(low) or _OPTIONS.get(low) or low
    meant = _OF_RUNS.get(meant, meant)
    meant = meant if meant in known else nearest(low, known) or ""
    return f"did you mean {meant!r}?" if meant else f"arguments are {', '.join(known)}"


#: What somebody may look for in the package.
_NAMES = _table(
    ("MapOptions Config Resources Settings", "wingspan.Options(request_memory='2GB')"),
    (
        "get_tags list list_maps maps get_maps ls",
        "wingspan.tags() are their tags, wingspan.load_maps() the maps",
    ),
    ("delete rm delete_map remove_map", "wingspan.remove(tag)"),
    ("get get_map load_map open find", "wingspan.load(tag)"),
    (
        "Client Cluster Pool ProcessPoolExecutor Parallel delayed connect init",
        "wingspan.map(f, inputs): nothing is set up before",
    ),
    ("submit apply apply_async", "wingspan.map(f, [x])[0]; a command: wingspan.run([…])"),
    ("imap imap_unordered as_completed", "wingspan.map(f, inputs).iter_as_available()"),
    ("transient_map transient_starmap", "wingspan.map(f, inputs) without a tag"),
    ("set_delivery_method register_delivery_method", "wingspan.Options(environment=…)"),
    (
        "runs load_runs list_runs run_names",
        "wingspan.load_run(name); wingspan.runs.run_names() are the names",
    ),
    ("map_async", "wingspan.map(f, inputs) returns at once"),
    ("status", "wingspan.load(tag).status()"),
    ("settings USER_SETTINGS", "wingspan.settings.load_settings(); wingspan doctor shows them"),
    ("wait", "wingspan.load(tag).wait()"),
    ("errors_of exceptions", "wingspan.load(tag).errors; the exceptions are in wingspan.errors"),
)
#: Commands of other tools -> what is typed here, after ``wingspan``.
COMMANDS = _table(
    ("delete del remove scrap destroy purge trash", "rm"),
    ("stop end halt", "rm"),
    ("kill abort terminate scancel condor_rm qdel", "cancel"),
    ("suspend condor_hold scontrol", "hold"),
    ("unpause continue condor_release start-again", "release"),
    ("list ls tags show-maps map", "maps"),
    ("ps jobs history sacct", "runs"),
    (
        "queue q squeue condor_q qstat info describe inspect state statuses reasons holds",
        "status",
    ),
    ("submit exec execute sbatch condor_submit qsub srun launch start", "run"),
    ("retry redo again resubmit restart repeat", "rerun"),
    ("log tail out output print condor_tail", "logs"),
    ("error failures failed traceback", "errors"),
    ("get download pull copy cp results outputs collect rsync", "fetch"),
    ("rename mv tag name label", "retag"),
    ("watch follow progress monitor condor_watch_q htop", "top"),
    ("shell login attach connect condor_ssh_to_job enter", "ssh"),
    ("check diagnose which version-info config whoami debug", "doctor"),
    ("nodes machines slots gpu nvidia-smi condor_status sinfo hosts", "gpus"),
    ("environment environments conda bundle build lock publish install", "env"),
    ("autocompletion complete completions", "completion"),
    ("evict condor_vacate_job requeue", "vacate"),
    ("cleanup tidy prune gc", "clean"),
    ("generate template export convert script scripts dag", "render"),
    ("verify validate test-submit", "lint"),
    ("personal condor htcondor cluster", "pool"),
)
#: What is more than another name: word -> what to do.
_ADVICE = {
    "version": "wingspan --version",
    "stop": "wingspan rm TAG ends and removes, wingspan hold TAG only stops; the personal pool: wingspan pool stop",
    "end": "wingspan rm TAG ends and removes, wingspan hold TAG only stops; the personal pool: wingspan pool stop",
    "halt": "wingspan rm TAG ends and removes, wingspan hold TAG only stops; the personal pool: wingspan pool stop",
    "kill": "wingspan cancel NAME ends its jobs and keeps what is finished; wingspan rm NAME removes it too",
    "abort": "wingspan cancel NAME ends its jobs and keeps what is finished; wingspan rm NAME removes it too",
    "list": "wingspan maps lists maps, wingspan runs lists runs",
    "ls": "wingspan maps lists maps, wingspan runs lists runs",
    "map": "maps are made in Python: wingspan.map(f, inputs); wingspan maps lists them",
    "jobs": "wingspan runs lists runs, wingspan maps lists maps, wingspan status NAME shows one",
    "start": "wingspan run starts a command, wingspan pool start the personal pool",
    "install": "wingspan pool install obtains HTCondor, wingspan env bundle makes a bundle of an environment",
    "get": "wingspan fetch NAME copies the output files of a run or a map; what a map's components return is in Python: wingspan.load(TAG)[0]",
    "results": "wingspan fetch NAME copies the output files of a run or a map; what a map's components return is in Python: wingspan.load(TAG)[0]",
    "outputs": "wingspan fetch NAME copies the output files of a run or a map; what a map's components return is in Python: wingspan.load(TAG)[0]",
    "output": "wingspan fetch NAME copies the outputs of a run, wingspan logs NAME shows what it printed",
}
#: Options of commands -> the option here. Several kinds of command share them: only what a command has is
#: told.
_SWITCHES = _table(
    ("--watch --tail --stream --live", "--follow"),
    ("--force-yes --assume-yes --no-confirm", "--yes"),
    ("--destination --dest --target --dir --directory --outdir --into --path", "--to"),
    ("--mem --ram --mem-per-cpu --request-memory --memory-limit", "--memory"),
    ("--cores --cpu --ncpus --cpus-per-task --request-cpus --threads", "--cpus"),
    ("--gpu --gres --request-gpus --gpus-per-node --num-gpus", "--gpus"),
    ("--walltime --time-limit --timelimit --max-time --runtime", "--time"),
    ("--scratch --request-disk --tmp --storage", "--disk"),
    ("--conda --conda-env --venv --virtualenv", "--env"),
    ("--job-name --jobname --tag --label --id", "--name"),
    ("--in --upload --file --input-file --transfer-input-files --include", "--input"),
    ("--out --download --output-file --transfer-output-files --result", "--output"),
    ("--export --variable --setenv", "--set"),
    ("--array --parameters --params --grid --matrix", "--sweep"),
    ("--csv --params-file --grid-file --queue-from", "--sweep-file"),
    ("--partition --queue --backend --engine --scheduler --cluster", "--pool"),
    ("--failed --failures --failed-only --only-failed --errored", "--errors"),
    ("--clobber --replace --force", "--overwrite"),
    ("--format --as-json --output-json", "--json"),
    ("--wait-for-it --block --blocking --sync", "--wait"),
    ("--silent --no-progress", "--quiet"),
    ("--everything --every", "--all"),
)


#: Options that no command has -> how it is done.
_SWITCH_ADVICE = _table(
    ("--live --refresh --interval", "wingspan wait NAME shows a progress bar until it is done."),
    ("--version -V --v", "wingspan --version shows it."),
    ("--json --format", "maps, runs, status, errors, gpus and doctor have --json."),
    ("--workers --jobs -j", "How many workers a map has is said in Python: wingspan.Options(workers=2)."),
    ("--dry-run", "wingspan render writes the files that would be submitted."),
    (
        "--gpus --cpus --memory",
        "What a job gets is said when it is made: wingspan run --cpus 2 …, or Options(request_cpus=2).",
    ),
)


def advice_for_switch(option: str) -> str | None:
    """How what an unknown option asks for is done."""
    return _SWITCH_ADVICE.get(option.lower())


def hint_for_option(name: str, known: Iterable[str]) -> str | None:
    """What an unknown option of a map may have meant: ``did you mean 'request_cpus'? …``."""
    known = list(known)
    low = name.lower().replace("-", "_")
    meant = low if low in known else _OPTIONS.get(low) or _OPTIONS.get(low.replace("_", ""))
    if meant is None and low in _ARGUMENTS:
        return _ARGUMENTS[low]
    meant = meant if meant in known else nearest(low, known)
    if meant is None:
        return None
    example = f" {_EXAMPLES[meant]}" if meant in _EXAMPLES else ""
    return f"did you mean {meant!r}?{example}"


def hint_for_argument(name: str, known: Iterable[str], options: Iterable[str]) -> str:
    """What an unknown argument of `wingspan.map` and its like may have meant."""
    low = name.lower()
    meant = low if low in options else _OPTIONS.get(low)
    if meant is not None:
        example = _EXAMPLES.get(meant, f"Options({meant}=…)")
        return f"what workers get is in the options: options=wingspan.{example}"
    if low in _ARGUMENTS:
        return _ARGUMENTS[low]
    near = nearest(low, [*known, *options])
    if near is None:
        return f"arguments are {', '.join(known)}; what is passed to the function belongs in the inputs"
    return (
        f"did you mean {near!r}?"
        if near in known
        else f"options=wingspan.{_EXAMPLES.get(near, f'Options({near}=…)')}"
    )


def hint_for_attribute(name: str, known: Iterable[str], *, of_run: bool = False) -> str | None:
    """What an unknown attribute of a map, or of a run, may have meant."""
    table = _RUN_ATTRIBUTES if of_run else _ATTRIBUTES
    if name in table:
        return table[name]
    near = nearest(name, [one for one in known if not one.startswith("_")])
    return f"did you mean {near!r}?" if near else None


def hint_for_name(name: str, known: Iterable[str]) -> str | None:
    """What an unknown name of the package may have meant."""
    if name in _NAMES:
        return _NAMES[name]
    near = nearest(name, known)
    return f"did you mean {near!r}?" if near else None


def hint_for_command(word: str, known: Iterable[str], group: str = "wingspan") -> str | None:
    """What to type instead of an unknown command."""
    known = list(known)
    low = word.lower().lstrip("-").replace("_", "-")
    if group == "wingspan":
        for spelt in (low, low.replace("-", "_")):
            if spelt in _ADVICE:
                return _ADVICE[spelt]
            if spelt in COMMANDS:
                return f"did you mean {COMMANDS[spelt]!r}? {group} {COMMANDS[spelt]} --help"
    else:
        meant = COMMANDS.get(low) or COMMANDS.get(low.replace("-", "_")) or ""
        same = {
            "maps": ("ls", "list"),
            "cancel": ("stop",),
            "rm": ("stop", "rm", "prune"),
            "run": ("run", "start"),
            "clean": ("prune",),
        }
        for one in (*same.get(meant, ()), meant):
            if one in known:
                return f"did you mean {one!r}? {group} {one} --help"
    near = nearest(low, known)
    return f"did you mean {near!r}? {group} {near} --help" if near else None


def hint_for_switch(option: str, known: Mapping[str, object] | Iterable[str]) -> str | None:
    """The option that an unknown one of a command may have meant, if the command has one."""
    known = list(known)
    low = option.lower().replace("_", "-")
    if low in known:
        return low
    meant = _SWITCHES.get(low)
    return meant if meant in known else nearest(low, [one for one in known if one.startswith("--")])
