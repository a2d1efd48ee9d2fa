"""Bundles that queued jobs name, also jobs of rendered files, of which Wingspan knows nothing else."""

from __future__ import annotations

import contextlib

from wingspan.pools._select import site_condor
from wingspan.pools.htcondor import HTCondorPool, PersonalHTCondorPool
from wingspan.stores.pruning import digests_in

__all__ = ["queued_digests"]

#: Where a submit description can name a file or an image (HTCondor manual, "Job ClassAd Attributes").
_ATTRIBUTES = (
    "TransferInput",
    "ContainerImage",
    "DockerImage",
    "SingularityImage",
    "Args",
    "Arguments",
    "WingspanBundle",
    "WingspanBundleSHA256",
)


#: Jobs that speak of a content-hashed name; the schedd looks, and answers with these alone.
_SPEAKS = 'regexp("-[0-9a-f]{{8}}[.]", strcat({})) || WingspanBundleSHA256 =!= undefined'.format(
    ", ".join(f'ifThenElse(isString({name}), {name}, "")' for name in _ATTRIBUTES)
)


def queued_digests() -> set[str]:
    """SHA-256 digests (64 digits, or the 8 in a bundle's name) that anybody's queued jobs name.

    Asked are the site's schedd, where one is configured, and the personal pool; where it is stopped, the
    queue that it will start with again is read.

    Raises:
        PoolUnavailable: A schedd does not answer.
    """
    found: set[str] = set()
    personal = PersonalHTCondorPool()
    pools = [HTCondorPool()] if site_condor() is not None else []
    if personal.personal.status().state == "running":
        pools.append(personal)
    else:
        with contextlib.suppress(FileNotFoundError):
            found |= digests_in((personal.personal.directory / "spool/job_queue.log").read_bytes())
    for pool in pools:
        for ad in pool.job_ads(_SPEAKS, _ATTRIBUTES):
            for name in _ATTRIBUTES:
                found |= digests_in(str(ad.get(name, "")).encode())
    return found
