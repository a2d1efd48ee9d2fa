"""Whatever stands in a profile, it is read, or refused with the key that is wrong."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import Any

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.errors import SettingsError
from wingspan.jobs import JobDescription, Resources
from wingspan.pools.profiles import effects
from wingspan.pools.profiles._reading import read_profile

#: How many profiles are tried; WINGSPAN_EXAMPLES asks for more.
EXAMPLES = int(os.environ.get("WINGSPAN_EXAMPLES", "150"))

_WILD = st.one_of(
    st.none().map(lambda _: {}),
    st.text(max_size=6),
    st.integers(-3, 10**6),
    st.booleans(),
    st.floats(),
    st.lists(st.one_of(st.text(max_size=3), st.integers(), st.just({})), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.sampled_from(["{0}", "{home.x}", "{", "{user!r:>{letter}}", "1e3 h", "99999999999 d", "0 GB"]),
)


def _or_wild(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what belongs there."""
    return st.one_of(usual, usual, usual, usual, usual, usual, _WILD)


_text, _flag = _or_wild(st.text(max_size=5)), _or_wild(st.booleans())
_texts = _or_wild(st.lists(st.text(max_size=5), max_size=2))
_time, _size = (
    _or_wild(st.sampled_from(["1 h", "0.5 d", "20 min"])),
    _or_wild(st.sampled_from(["1 GB", "3.5 TB"])),
)
_count, _number = _or_wild(st.integers(1, 9)), _or_wild(st.floats(0.1, 99))
_reasons = _or_wild(st.dictionaries(st.sampled_from(["/", "/a", "b"]), _text, max_size=2))
_values = _or_wild(st.dictionaries(st.text(min_size=1, max_size=4), _or_wild(st.integers()), max_size=2))
_commands = _or_wild(st.dictionaries(st.text(min_size=1, max_size=4), _text, max_size=2))
_folder = _or_wild(st.sampled_from(["{home}", "/data/{user}/{letter}", "/{host}"]))


def _table(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    origin = {"source": _or_wild(st.just("https://x.org")), "date": _text}
    return _or_wild(st.fixed_dictionaries({}, optional={**origin, **keys}))


_walltime = _table(
    attribute=_text,
    default=_or_wild(st.sampled_from(["a", "b"])),
    always=_flag,
    classes=_or_wild(
        st.lists(
            _or_wild(st.fixed_dictionaries({"value": st.sampled_from(["a", "b"]), "up_to": _time})),
            max_size=3,
        )
    ),
)
_rules = _table(
    attributes=_values,
    submit=_commands,
    walltime=_walltime,
    time_limit=_time,
    limit_per_checkpoint=_flag,
    disk_per_cpu=_size,
    no_ssh=_text,
    no_chirp=_text,
    no_user_namespaces=_text,
)
_profiles = st.fixed_dictionaries(
    {},
    optional={
        "title": _text,
        "source": _texts,
        "date": _text,
        "hosts": _texts,
        "is_access_point": st.one_of(_flag, _texts),
        "environment": _commands,
        "builds": _flag,
        "build_hint": _text,
        "no_submit_from": _reasons,
        "only_submit_from": _reasons,
        "page": _text,
        "staging": _folder,
        "transfer_host": _text,
        "transfer_limit": _size,
        "url_limit": _size,
        "operations": _number,
        "queue": _table(per_submission=_count, per_owner=_count, max_idle=_count),
        "accounting": _table(command=_text, attributes=_texts, example=_text, page=_text),
        "quota": _or_wild(
            st.dictionaries(
                st.text(max_size=3),
                _table(
                    folder=_folder, size=_size, items=_count, ask=_or_wild(st.sampled_from(["quota", "lfs"]))
                ),
                max_size=2,
            )
        ),
        "every": _rules,
        "cpu": _rules,
        "gpu": _rules,
        "build": _rules,
        "switches": _or_wild(
            st.dictionaries(
                st.sampled_from(["s", "t"]),
                _table(help=_text, attributes=_values, submit=_commands, time_limit=_time),
                max_size=2,
            )
        ),
        "sbatch": _commands,
        "slurm_gpus": _or_wild(
            st.lists(_table(constraint=_text, capability=_number, memory=_size), max_size=2)
        ),
    },
)


@settings(max_examples=EXAMPLES)
@given(_profiles, st.integers(0, 1), st.one_of(st.none(), st.integers(1, 10**7)))
def test_any_profile_is_read_or_refused(table: dict[str, Any], gpus: int, seconds: int | None) -> None:
    """No other error than one of the settings comes of a profile, be it read, asked or applied."""
    try:
        site = read_profile("lab", table)
    except SettingsError as refused:
        assert "profile.lab" in refused.message  # noqa: PT017 - only some are refused
        return
    resources = Resources(gpus=gpus, time_limit=seconds, disk=1 << 30)
    job = JobDescription(name="x", executable="y", resources=resources, count=5)
    names = {"home": "/home/b", "user": "b", "letter": "b", "host": "h"}
    assert all(isinstance(effect, str) for effect in effects(site))
    site.is_access_point("h.example.org")
    site.staging_folder("b", "h")
    for quota in site.quotas.values():
        assert isinstance(quota.place(names), str)
    for switches in ((), tuple(site.switches)):
        try:
            site.check_folder(PurePath("/a/b"))
            assert site.apply(job, switches).executable == "y"
            site.slurm_constraint(resources)
        except SettingsError:
            continue
    assert attrs.evolve(site) == site
