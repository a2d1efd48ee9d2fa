"""Words of submit descriptions: the commands there are, what kind of value each takes, and the values of
some.

The names are those that HTCondor's own parser looks for (version 25.14:
``src/condor_utils/submit_utils.cpp``), some of which no manual page has; the kinds were tried with
``condor_submit -dry-run``.
"""

from __future__ import annotations

import re

__all__ = [
    "BOOLEANS",
    "COMMANDS",
    "EXPRESSIONS",
    "INTEGERS",
    "OTHER_NAMES",
    "PREFIXES",
    "VALUES",
    "is_command",
]

#: Commands whose value must be a ClassAd expression.
EXPRESSIONS = frozenset(
    """
    allowed_execute_duration allowed_job_duration batch_runtime buffer_block_size buffer_files buffer_size
    concurrency_limits_expr file_remaps gpus_maximum_capability gpus_minimum_capability gpus_minimum_memory
    gpus_minimum_runtime job_lease_duration job_max_vacate_time keep_claim_idle leave_in_queue
    max_job_retirement_time max_transfer_input_mb max_transfer_output_mb next_job_start_delay noop_job
    noop_job_exit_code noop_job_exit_signal on_evict_checks on_exit_hold on_exit_hold_reason
    on_exit_hold_subcode on_exit_remove periodic_hold periodic_hold_reason periodic_hold_subcode
    periodic_release periodic_remove periodic_vacate rank request_cpus request_disk request_gpus
    request_memory require_gpus requirements retry_request_memory retry_request_memory_increase
    retry_request_memory_max stack_size want_graceful_removal
    """.split()
)

#: Commands whose value must evaluate to an integer.
INTEGERS = frozenset(
    """
    checkpoint_exit_code core_size dagman_job_id job_machine_attrs_history_length match_list_length max_idle
    max_materialize max_retries priority success_exit_code vm_vcpus
    """.split()
)

#: Commands whose value must evaluate to true or false.
BOOLEANS = frozenset(
    """
    allow_arguments_v1 container_is_common docker_override_entrypoint docker_send_credentials
    encrypt_execute_directory erase_output_and_error_on_restart gce_preemptible hold load_profile log_xml
    manifest nice_user preserve_relative_paths run_as_owner skip_if_dataflow stream_error stream_input
    stream_output transfer_container transfer_error transfer_input transfer_output vm_checkpoint
    vm_networking vm_no_output_vm vm_vnc want_io_proxy want_job_networking wantparallelscheduling
    """.split()
)

_TEXTS = frozenset(
    """
    accounting_group accounting_group_user allow_environment_v1 append_files arc_application
    arc_data_staging arc_resources arc_rte arguments arguments2 aws_access_key_id_file aws_region
    aws_secret_access_key_file azure_admin_key azure_admin_username azure_auth_file azure_image
    azure_location azure_size batch_extra_submit_args batch_id batch_name batch_project batch_queue
    checkpoint_destination cloud_label_names compress_files concurrency_limits container_image
    container_service_names container_target_dir cron_day_of_month cron_day_of_week cron_hour cron_minute
    cron_month cron_prep_time cron_window cronpreptime cronwindow cuda_version dag_node_name dagman_log
    deferral_prep_time deferral_time deferral_window delegate_job_gsi_credentials_lifetime
    delegatejobgsicredentialslifetime description disk_usage docker_image docker_network_type
    docker_pull_policy dont_encrypt_input_files dont_encrypt_output_files ec2_access_key_id ec2_ami_id
    ec2_availability_zone ec2_block_device_mapping ec2_ebs_volumes ec2_elastic_ip ec2_iam_profile_arn
    ec2_iam_profile_name ec2_instance_type ec2_key_pair_file ec2_keyp_air ec2_keypair ec2_keypair_file
    ec2_parameter_names ec2_secret_access_key ec2_security_groups ec2_security_ids ec2_spot_price
    ec2_tag_names ec2_user_data ec2_user_data_file ec2_vpc_ip ec2_vpc_subnet email_attributes
    encrypt_input_files encrypt_output_files environment environment2 error executable fetch_files
    gce_account gce_auth_file gce_image gce_json_file gce_machine_type gce_metadata gce_metadata_file getenv
    grid_resource gs_access_key_id_file gs_secret_access_key_file hold_kill_sig image_size initialdir input
    interactive_args interactive_executable jar_files java_vm_arguments java_vm_arguments2
    job_ad_information_attrs job_machine_attrs jobset kill_sig kill_sig_timeout local_files log
    machine_count manifest_dir mount_under_scratch notification notify_user output output_destination
    output_directory parallel_script_shadow parallel_script_starter primary_unix_group project_name
    public_input_files remote_grid_resource remote_initialdir remote_remote_grid_resource
    remote_remote_universe remote_universe remove_kill_sig rendezvous_dir rendezvous_directory rendezvousdir
    retry_request_disk retry_until s3_access_key_id_file s3_secret_access_key_file scitokens_file shell
    should_transfer_files skip_filechecks starter_debug starter_log submit_allow_duplicate_matches
    submit_event_notes submit_event_notes_attrs submit_event_user_notes submit_fail_empty_fields
    submit_fail_empty_matches submit_match_directories submit_warn_duplicate_matches
    submit_warn_empty_fields submit_warn_empty_matches suspend_job_at_exec tasks_per_job
    tool_daemon_arguments tool_daemon_arguments2 tool_daemon_cmd tool_daemon_error tool_daemon_input
    tool_daemon_output transfer_checkpoint_files transfer_common_input transfer_executable
    transfer_input_files transfer_output_files transfer_output_remaps transfer_plugins transferinputfiles
    transferoutputfiles ulog_execute_attrs universe use_oauth_services use_scitokens use_x509userproxy
    vm_disk vm_macaddr vm_memory vm_networking_type vm_type wantnametag when_to_transfer_output
    x509userproxy xen_initrd xen_kernel xen_kernel_params xen_root
    """.split()
)

#: Names of submit commands.
COMMANDS = EXPRESSIONS | INTEGERS | BOOLEANS | _TEXTS

#: What names of commands begin with that hold a name of the user's.
PREFIXES = ("cloud_label_", "ec2_parameter_", "ec2_tag_", "request_", "require_", "transform_body_")
_SUFFIXES = re.compile(
    r"\w+_(?:container_port|oauth_(?:permissions|resource|options|scopes|audience)(?:_\w+)?)"
)

#: Commands that sites add to HTCondor's own (EXTENDED_SUBMIT_COMMANDS).
_OF_SITES = frozenset(["want_campus_pools", "want_ospool"])

#: Commands that HTCondor's manual has, or had, and its parser no longer looks for.
_OLD = frozenset(["copy_to_spool", "want_remote_io", "wantcorefile", "vmware_dir", "exit_requirements"])

#: Other names that condor_submit takes for some commands; most are those of the job's attributes.
OTHER_NAMES: dict[str, str] = dict(
    pair.split("=")
    for pair in """
    acctgroupuser=accounting_group_user args=arguments cmd=executable commoninputfiles=transfer_common_input
    dagmannodeslog=dagman_log deferralpreptime=cron_prep_time deferralwindow=cron_window
    ec2accesskeyid=aws_access_key_id_file ec2elasticblockstoragevolumes=ec2_ebs_volumes
    ec2paramnames=ec2_parameter_names ec2secretaccesskey=aws_secret_access_key_file env=environment
    get_env=getenv gpusmaxcapability=gpus_maximum_capability gpusmincapability=gpus_minimum_capability
    gpusminmemory=gpus_minimum_memory gpusminruntime=gpus_minimum_runtime initial_dir=initialdir
    isnoopjob=noop_job iwd=initialdir java_vm_args=java_vm_arguments javavmargs=java_vm_arguments
    job_iwd=initialdir jobbatchid=batch_id jobbatchname=batch_name jobdescription=description
    jobmaterializelimit=max_materialize jobmaterializemaxidle=max_idle jobmaxretries=max_retries
    jobnotification=notification jobprio=priority jobsetname=jobset jobstarterdebug=starter_debug
    jobstarterlog=starter_log jobsuccessexitcode=success_exit_code jobuniverse=universe
    jobvm_macaddr=vm_macaddr jobvmcheckpoint=vm_checkpoint jobvmnetworking=vm_networking
    jobvmnetworkingtype=vm_networking_type jobvmtype=vm_type jobvmvncconsole=vm_vnc
    lastmatchlistlength=match_list_length leavejobinqueue=leave_in_queue manifestdesired=manifest
    materialize_max_idle=max_idle node_count=machine_count nodecount=machine_count preferences=rank
    prio=priority remote_gridresource=remote_grid_resource
    remote_remote_gridresource=remote_remote_grid_resource remoteiwd=remote_initialdir stderr=error
    stdin=input stdout=output streamerr=stream_error streamin=stream_input streamout=stream_output
    successcheckpointexitcode=checkpoint_exit_code tool_daemon_args=tool_daemon_arguments
    tooldaemonargs=tool_daemon_arguments transfercheckpoint=transfer_checkpoint_files
    transfererr=transfer_error transferin=transfer_input transferinput=transfer_input_files
    transferout=transfer_output transferoutput=transfer_output_files transformonevict=on_evict_checks
    use_scitoken=use_scitokens userlog=log userlogexecuteeventattrs=ulog_execute_attrs userlogusexml=log_xml
    """.split()
)
OTHER_NAMES |= {
    name.replace("_", ""): name
    for name in """
    accounting_group allowed_execute_duration allowed_job_duration append_files arc_rte aws_region
    azure_admin_key azure_admin_username azure_auth_file azure_image azure_location azure_size
    batch_extra_submit_args batch_project batch_queue batch_runtime buffer_block_size buffer_files
    buffer_size checkpoint_destination compress_files concurrency_limits container_image container_is_common
    container_service_names container_target_dir core_size cron_day_of_month cron_day_of_week cron_hour
    cron_minute cron_month cuda_version dag_node_name dagman_job_id deferral_time disk_usage docker_image
    docker_network_type docker_override_entrypoint docker_pull_policy docker_send_credentials
    dont_encrypt_input_files dont_encrypt_output_files ec2_ami_id ec2_availability_zone
    ec2_block_device_mapping ec2_elastic_ip ec2_iam_profile_arn ec2_iam_profile_name ec2_instance_type
    ec2_keypair ec2_keypair_file ec2_security_groups ec2_security_ids ec2_spot_price ec2_tag_names
    ec2_user_data ec2_user_data_file ec2_vpc_ip ec2_vpc_subnet email_attributes encrypt_execute_directory
    encrypt_input_files encrypt_output_files erase_output_and_error_on_restart fetch_files file_remaps
    gce_account gce_auth_file gce_image gce_json_file gce_machine_type gce_metadata gce_metadata_file
    gce_preemptible grid_resource hold_kill_sig image_size jar_files job_ad_information_attrs
    job_lease_duration job_machine_attrs job_machine_attrs_history_length job_max_vacate_time
    keep_claim_idle kill_sig kill_sig_timeout load_profile local_files machine_count manifest_dir
    max_job_retirement_time max_transfer_input_mb max_transfer_output_mb mount_under_scratch
    next_job_start_delay nice_user noop_job_exit_code noop_job_exit_signal notify_user on_exit_hold
    on_exit_hold_reason on_exit_hold_subcode on_exit_remove output_destination output_directory
    parallel_script_shadow parallel_script_starter periodic_hold periodic_hold_reason periodic_hold_subcode
    periodic_release periodic_remove periodic_vacate preserve_relative_paths primary_unix_group project_name
    public_input_files remove_kill_sig request_cpus request_disk request_gpus request_memory require_gpus
    run_as_owner scitokens_file should_transfer_files skip_if_dataflow stack_size submit_event_notes
    submit_event_notes_attrs submit_event_user_notes suspend_job_at_exec tool_daemon_cmd tool_daemon_error
    tool_daemon_input tool_daemon_output transfer_container transfer_executable transfer_output_remaps
    transfer_plugins use_oauth_services want_graceful_removal want_io_proxy want_job_networking
    when_to_transfer_output
    """.split()
}


def is_command(name: str) -> bool:
    """Whether condor_submit, or a site's, knows a name (lower case) for something else than a variable of the
    user's.

    >>> is_command("get_env"), is_command("request_fpgas"), is_command("request_gpu"), is_command("sample")
    (True, True, False, False)
    """
    if name in COMMANDS or name in OTHER_NAMES or name in _OF_SITES or name in _OLD:
        return True
    if name in _NEARLY:
        return False
    return name.startswith(PREFIXES) or _SUFFIXES.fullmatch(name) is not None


#: Names with one of the prefixes that are mistaken for a command: a pool may have a resource of that name,
#: but none is known.
_NEARLY = frozenset(
    "request_cpu request_gpu request_mem request_ram request_memories request_disks request_cores request_core request_disc".split()
)

#: The values that the manual page documents, by command. Those of others are `_rules_refused`'s.
VALUES: dict[str, tuple[str, ...]] = {"docker_pull_policy": ("always",)}
