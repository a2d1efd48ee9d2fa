"""The code that runs on the execution point.

It uses the standard library only, and nothing of the rest of Wingspan.

The modules are shipped as a zipapp, beside cloudpickle and HTCondor's htchirp (see `wingspan.pools.zipapp`),
where their package is called ``wingspan_worker``; they import each other relatively. They parse on Python
3.6, so that an old interpreter can refuse a map politely instead of failing on the syntax.

A worker is two processes. The supervisor (`supervisor.py`) claims blocks, reads their inputs, appends records
and never imports user code; the executor (`executor.py`) is forked from it and calls the function. The
formats that access point and worker share are defined here once: `formats.py` (records, frames), `rounds.py`
(plans, claims).
"""
