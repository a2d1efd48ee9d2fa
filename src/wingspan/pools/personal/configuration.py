"""The personal pool's HTCondor configuration, as a pure function of what it depends on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from wingspan.errors import SettingsError
from wingspan.pools.personal.identity import Identity
from wingspan.pools.personal.installation import Installation
from wingspan.pools.personal.processes import MARKER

__all__ = ["render"]


_TEMPLATE = """\
# Written by Wingspan whenever the personal pool starts; what you change here is overwritten.

RELEASE_DIR = {prefix}
BIN = {bin}
SBIN = {sbin}
LIB = {lib}
LIBEXEC = {libexec}
SHARE = {share}
LOCAL_CONFIG_FILE =
LOCAL_CONFIG_DIR =
REQUIRE_LOCAL_CONFIG_FILE = False
{condor_ids}
LOCAL_DIR = {directory}
LOG = $(LOCAL_DIR)/log
SPOOL = $(LOCAL_DIR)/spool
EXECUTE = $(LOCAL_DIR)/execute
LOCK = $(LOCAL_DIR)/lock
RUN = $(LOCAL_DIR)/run
JOB_QUEUE_LOG = $(SPOOL)/job_queue.log
MASTER_ADDRESS_FILE = $(LOG)/.master_address
COLLECTOR_ADDRESS_FILE = $(LOG)/.collector_address
NEGOTIATOR_ADDRESS_FILE = $(LOG)/.negotiator_address
SCHEDD_ADDRESS_FILE = $(LOG)/.schedd_address
STARTD_ADDRESS_FILE = $(LOG)/.startd_address
MAIL = /bin/true
SENDMAIL = /bin/true
MAX_DEFAULT_LOG = 5 Mb

# Everything on one machine, on ports of the loopback interface that the kernel chooses. No shared port: one
# process fewer, and no Unix sockets whose paths would be too long in a deep folder.
DAEMON_LIST = MASTER COLLECTOR NEGOTIATOR SCHEDD STARTD
NETWORK_INTERFACE = 127.0.0.1
BIND_ALL_INTERFACES = False
ENABLE_IPV6 = False
USE_SHARED_PORT = False
CONDOR_HOST = 127.0.0.1
# One port for the pool's life, which the kernel gives to nobody else: the others could not find a collector that came back on another one.
COLLECTOR_HOST = 127.0.0.1:{port}
# The machine's own name may be unknown to DNS.
NETWORK_HOSTNAME = localhost
UID_DOMAIN = localhost
FILESYSTEM_DOMAIN = localhost
WANT_UDP_COMMAND_SOCKET = False
UPDATE_COLLECTOR_WITH_TCP = True

# A client proves by a file (FS) that it is this user's and on this machine; other users are refused.
SEC_DEFAULT_AUTHENTICATION = REQUIRED
SEC_CLIENT_AUTHENTICATION = REQUIRED
SEC_DEFAULT_AUTHENTICATION_METHODS = FS
SEC_PASSWORD_DIRECTORY = $(LOCAL_DIR)/passwords.d
SEC_TOKEN_DIRECTORY = $(LOCAL_DIR)/tokens.d
SEC_TOKEN_SYSTEM_DIRECTORY = $(LOCAL_DIR)/tokens.d
OWNER_OF_THIS_POOL = {owner}@*
ALLOW_READ = $(OWNER_OF_THIS_POOL)
ALLOW_WRITE = $(OWNER_OF_THIS_POOL)
ALLOW_DAEMON = $(OWNER_OF_THIS_POOL)
ALLOW_ADMINISTRATOR = $(OWNER_OF_THIS_POOL)
ALLOW_ADVERTISE_MASTER = $(OWNER_OF_THIS_POOL)
ALLOW_ADVERTISE_SCHEDD = $(OWNER_OF_THIS_POOL)
ALLOW_ADVERTISE_STARTD = $(OWNER_OF_THIS_POOL)
ALLOW_NEGOTIATOR = $(OWNER_OF_THIS_POOL)

# One slot that is cut to what each job asks for.
NUM_CPUS = {cpus}
MEMORY = {memory}
NUM_SLOTS = 1
NUM_SLOTS_TYPE_1 = 1
SLOT_TYPE_1 = 100%
SLOT_TYPE_1_PARTITIONABLE = True
START = True
SUSPEND = False
PREEMPT = $(TOOK_TOO_MUCH)
KILL = False
# A removed job has ten seconds to end (HTCondor: ten minutes); until then its slot serves nobody else.
MachineMaxVacateTime = 10
# How long the files that jobs have in common stay on their slot after the last such job (HTCondor: five
# minutes).
KEEP_DATA_CLAIM_IDLE = 15
# A job that asks for no disk gets what its input files take. (HTCondor: at least 1 GiB, so that nothing runs
# where less is free.)
JOB_DEFAULT_REQUESTDISK = (TransferInputSizeMB + 1) * 1280
# Nothing limits the memory of processes here (that would take cgroups of one's own). So HTCondor measures
# jobs, and holds those that take more than they asked for. A job that asks for nothing may take what there
# is. Workers of maps measure their components themselves.
JOB_DEFAULT_REQUESTMEMORY = ifThenElse(MemoryUsage =!= undefined, MemoryUsage, 128)
# What was asked for is kept: the shadow knows only a number of RequestMemory, be it asked for or not.
JOB_TRANSFORM_AskedMemory = COPY RequestMemory AskedMemory
SYSTEM_PERIODIC_HOLD = WingspanMap =?= undefined && !$(ASKS_FOR_MORE) && JobStatus == 2 && MemoryUsage > AskedMemory && MemoryUsage > RequestMemory
SYSTEM_PERIODIC_HOLD_REASON = strcat("it took ", string(MemoryUsage), " MB of memory and asked for ", \
    string(RequestMemory), " MB: ask for more (wingspan run --memory)")
SYSTEM_PERIODIC_HOLD_SUBCODE = 102
# A job with retry_request_memory is stopped by the machine instead, as sites do it: then the schedd asks for
# more, and holds the job only when it may ask for no more.
ASKS_FOR_MORE = (stringListIMember("RequestMemory", TransformOnEvict) =?= True)
TOOK_TOO_MUCH = WingspanMap =?= undefined && $(ASKS_FOR_MORE) && MemoryUsage > RequestMemory
WANT_HOLD = $(TOOK_TOO_MUCH)
WANT_HOLD_REASON = strcat("it took ", string(MemoryUsage), " MB of memory and asked for ", \
    string(RequestMemory), " MB: ask for more (wingspan run --memory, --retry-memory)")
WANT_HOLD_SUBCODE = 102
PERIODIC_EXPR_INTERVAL = 2
STARTER_UPDATE_INTERVAL = 2
SCHEDD_ROUND_ATTR_ResidentSetSize = 0
# A pool of one person: no job keeps a slot for jobs that may follow it, whatever tool submitted it.
JOB_TRANSFORM_NAMES = $(JOB_TRANSFORM_NAMES) NoIdleClaims AskedMemory
JOB_TRANSFORM_NoIdleClaims = DELETE KeepClaimIdle
# Jobs find the programs that the person who started the pool finds: Apptainer of a module, say.
STARTER_JOB_ENVIRONMENT = "{marker}={quoted_directory} PATH={quoted_path}"

# When a job is removed while its slot is being claimed (a map whose work a warm worker has done), the schedd
# forgets the claim, and the startd keeps a slot that serves nobody until it next asks the schedd about it, or
# has had no answer for ALIVE_INTERVAL * MAX_CLAIM_ALIVES_MISSED seconds (HTCondor: 1800). It asks three times in
# that time, and only about claims without a job; those of running jobs have the jobs' own lease.
ALIVE_INTERVAL = 5
# With each answer the schedd notes in its log of the queue that the job's lease goes on. The log is written anew,
# without what is no longer true, so often (HTCondor: once a day).
QUEUE_CLEAN_INTERVAL = 1800
MAX_CLAIM_ALIVES_MISSED = 1

# A person waits: look for work at once, and again every second.
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 0
NEGOTIATOR_CYCLE_DELAY = 0
SCHEDD_INTERVAL = 1
SCHEDD_MIN_INTERVAL = 0
SCHEDD_INTERVAL_TIMESLICE = 1.0
# How soon a collector that came back knows the others again.
UPDATE_INTERVAL = 5
NEGOTIATOR_UPDATE_INTERVAL = 5
# Answer queries in the collector itself: for one machine, forking costs more than the answer.
COLLECTOR_QUERY_WORKERS = 0
# The queue need not outlive a power cut (its jobs do not), and fsync on a busy disk stalls the schedd for a
# second.
CONDOR_FSYNC = False
ENABLE_USERLOG_FSYNC = False
# Probes and benchmarks that cost two seconds of the start, and again before each job that transfers files.
RUNBENCHMARKS = False
STARTD_CRON_JOBLIST =
BENCHMARKS_JOBLIST =
HIBERNATION_PLUGIN =
JAVA =
DOCKER =
FILETRANSFER_PLUGINS = $(LIBEXEC)/curl_plugin, $(LIBEXEC)/data_plugin
# How soon condor_ssh_to_job can find a job that has started (HTCondor: eight seconds).
STARTER_INITIAL_UPDATE_INTERVAL = 1
# Our cache may be touched while the pool runs; that is no new HTCondor to restart into.
MASTER_NEW_BINARY_RESTART = NEVER
# A daemon that died comes back at once, not after ten seconds.
MASTER_BACKOFF_CONSTANT = 1
"""


def _quoted(text: str) -> str:
    """A value in HTCondor's environment syntax: a quote within it is doubled."""
    return "'" + text.replace("'", "''").replace('"', '""') + "'"


def render(
    *,
    directory: Path,
    installation: Installation,
    owner: Identity,
    client_is_root: bool,
    cpus: int,
    memory: int,
    port: int,
    settings: Mapping[str, str],
    path: str,
    sshd: Path | None = None,
    shadow: Path | None = None,
) -> str:
    """The text of ``condor_config``.

    Args:
        directory: The pool's folder.
        installation: The HTCondor to start.
        owner: Whom daemons and jobs run as.
        client_is_root: Command-line tools run as root, and must be told which account HTCondor's files belong
            to.
        cpus: How many cores the pool offers.
        memory: How many MiB of memory it offers.
        port: The collector's port.
        settings: Further settings, appended: the last one of a name counts.
        path: ``PATH`` of the jobs.
        sshd: What to start for condor_ssh_to_job; None: HTCondor's own choice, ``/usr/sbin/sshd``.
        shadow: What to start as shadow of a job; None: HTCondor's own.

    Raises:
        SettingsError: A setting's name or value would reach over into other lines.
    """
    for name, value in settings.items():
        if not re.fullmatch(r"[A-Za-z_][\w.]*", name) or "\n" in value:
            raise SettingsError(
                f"{name!r} is no HTCondor setting of one line", hint="give names such as 'SINGULARITY'"
            )
    text = _TEMPLATE.format(
        prefix=installation.prefix,
        bin=installation.bin,
        sbin=installation.sbin,
        lib=installation.lib,
        libexec=installation.libexec,
        share=installation.share,
        condor_ids="CONDOR_IDS = 0.0" if client_is_root else "",
        directory=directory,
        quoted_directory=_quoted(str(directory)),
        quoted_path=_quoted(path.replace("\n", "").replace("$", "$(DOLLAR)")),
        port=port,
        owner=owner.name,
        cpus=cpus,
        memory=memory,
        marker=MARKER,
    )
    if sshd is not None:
        text += f"SSH_TO_JOB_SSHD = {sshd}\n"
    if shadow is not None:
        text += f"SHADOW = {shadow}\n"
    return text + "".join(f"{name} = {value}\n" for name, value in settings.items())
