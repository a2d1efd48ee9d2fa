"""Site profiles: the shipped data, the user's on top, and what follows for a job."""

from __future__ import annotations

import contextlib
import re
import types
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import attrs
import pytest

import wingspan
from _on_disk import submissions
from wingspan._cores import usable_cores
from wingspan.errors import OnAccessPoint, PoolUnavailable, SettingsError
from wingspan.jobs import JobDescription, Resources
from wingspan.maps._worker_job import operations_of
from wingspan.pools import choose_pool, explain_choice
from wingspan.pools.local import LocalPool
from wingspan.pools.personal import PersonalPool
from wingspan.pools.profiles import (
    AccountingMissing,
    FolderNotAllowed,
    TooManyJobs,
    WalltimeNotAllowed,
    find_profile,
    load_profile,
    profiles,
)
from wingspan.pools.profiles._handed_out import parse_toml
from wingspan.pools.profiles._model import Profile
from wingspan.pools.profiles._sizes import large_file
from wingspan.pools.submit_description import submit_description
from wingspan.runs import render
from wingspan.settings import Settings, load_settings

HOUR = 3600


def job(**options: object) -> JobDescription:
    return JobDescription(name="train", executable="train.sh", resources=Resources(**options))  # type: ignore[arg-type]


def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Settings:
    (tmp_path / "config.toml").write_text(text)
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    return load_settings()


def test_the_shipped_profiles_can_be_read() -> None:
    """Those of CHTC, the OSPool, CERN and LIGO are there, and generic ones, with their titles."""
    found = profiles()
    assert set(found) >= {
        "cern",
        "cern-eos",
        "cern-spool",
        "chtc",
        "generic",
        "generic-slurm",
        "ligo",
        "ospool",
    }
    assert all(profile.title for profile in found.values())


#: Tables whose keys are other people's names: what surrounds them says where they are from.
_NAMES = {"attributes", "submit", "sbatch", "no_submit_from", "only_submit_from", "environment", "classes"}


def without_origin(table: Mapping[str, Any], name: str) -> Iterator[str]:
    """Names of the tables in `table`, itself too, that do not say which page they follow, and when it was
    read.
    """
    stated = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    pages = stated.get("source", "")
    pages = [pages] if isinstance(pages, str) else pages
    if stated and not (
        all(page.startswith("https://") for page in pages)
        and re.fullmatch("20[0-9]{2}-[01][0-9]", stated.get("date", ""))
    ):
        yield name
    for key, value in table.items():
        if isinstance(value, Mapping) and key not in _NAMES:
            yield from without_origin(value, f"{name}.{key}")


def test_every_table_of_the_shipped_profiles_has_a_source_and_a_date() -> None:
    """Each table of the shipped TOML names the page that it follows, and the month when it was read."""
    found = [
        where
        for entry in resources.files("wingspan.pools.profiles").iterdir()
        if entry.name.endswith(".toml")
        for name, table in parse_toml(entry.read_text(encoding="utf-8"))["profile"].items()
        for where in without_origin(table, name)
    ]
    assert found == []
    assert list(without_origin({"every": {"source": "https://x", "time_limit": "1 h"}}, "lab")) == [
        "lab.every"
    ]


@pytest.mark.parametrize(
    ("hours", "length"),
    [(1, "short"), (12, "short"), (13, "medium"), (24, "medium"), (25, "long"), (168, "long")],
)
def test_chtc_gpu_jobs_say_their_length(hours: int, length: str) -> None:
    """At CHTC a GPU job opts in to the GPU Lab, and its time chooses the job type."""
    applied = load_profile("chtc").apply(job(gpus=1, time_limit=hours * HOUR))
    assert dict(applied.custom) == {"WantGPULab": True, "GPUJobLength": length}


def test_chtc_jobs_without_gpus_say_nothing_of_them() -> None:
    """The GPU Lab's attributes are for GPU jobs only."""
    assert dict(load_profile("chtc").apply(job(time_limit=HOUR)).custom) == {}


def test_without_a_time_the_site_decides() -> None:
    """No time asked for: CHTC's default is left to CHTC; at CERN, whose default is 20 minutes, something is
    said.
    """
    assert "GPUJobLength" not in load_profile("chtc").apply(job(gpus=1)).custom
    assert load_profile("cern").apply(job()).custom["JobFlavour"] == "workday"


@pytest.mark.parametrize(
    ("site", "options", "words"),
    [
        ("chtc", {"gpus": 1, "time_limit": 8 * 24 * HOUR}, "GPU jobs run for 7 d; 8 d is asked for"),
        ("chtc", {"time_limit": 73 * HOUR}, "jobs run for 3 d; 73 h is asked for"),
        ("ospool", {"time_limit": 21 * HOUR}, "jobs run for 20 h; 21 h is asked for"),
        ("cern", {"time_limit": 8 * 24 * HOUR}, "jobs run for 7 d; 8 d is asked for"),
    ],
)
def test_a_time_that_the_site_does_not_allow(site: str, options: dict[str, int], words: str) -> None:
    """Asking for more time than the site gives is an error before submitting, with both times in it."""
    with pytest.raises(WalltimeNotAllowed, match=words):
        load_profile(site).apply(job(**options))


def test_a_switch_is_asked_for_by_name() -> None:
    """want_ospool becomes a submit command; jobs that are too long for it are refused."""
    chtc = load_profile("chtc")
    applied = chtc.apply(job(time_limit=8 * HOUR), switches=["want_ospool", "resumable"])
    assert dict(applied.submit) == {"want_ospool": "true"}
    assert applied.custom["is_resumable"] is True
    with pytest.raises(WalltimeNotAllowed, match="want_ospool"):
        chtc.apply(job(time_limit=11 * HOUR), switches=["want_ospool"])
    with pytest.raises(SettingsError, match="no switch 'want_osppol'"):
        chtc.apply(job(), switches=["want_osppol"])


def test_what_the_job_says_itself_wins() -> None:
    """A profile adds; it does not overrule the user."""
    own = JobDescription(
        name="x",
        executable="y",
        resources=Resources(gpus=1, time_limit=HOUR),
        custom={"GPUJobLength": "long"},
    )
    assert load_profile("chtc").apply(own).custom["GPUJobLength"] == "long"


def test_the_submit_description_carries_it() -> None:
    """What a profile adds comes out as lines of the submit description."""
    text = submit_description(load_profile("chtc").apply(job(gpus=1, time_limit=HOUR), ["want_ospool"]))
    assert 'MY.GPUJobLength = "short"\n' in text
    assert "MY.WantGPULab = true\n" in text
    assert "want_ospool = true\n" in text


@pytest.mark.htcondor
def test_htcondor_accepts_it() -> None:
    """HTCondor's own parser takes the description of each site's job and makes the attributes of it."""
    import classad2
    import htcondor2

    for site, attribute, value in (
        ("chtc", "GPUJobLength", "short"),
        ("ospool", "JobDurationCategory", "Medium"),
        ("cern", "JobFlavour", "microcentury"),
    ):
        text = submit_description(load_profile(site).apply(job(gpus=1, time_limit=HOUR)))
        submit = htcondor2.Submit(text)
        assert classad2.ExprTree(submit[f"MY.{attribute}"]).eval() == value


def test_the_folder_for_large_files() -> None:
    """CHTC sorts by the first letter, the OSPool by the access point."""
    assert load_profile("chtc").staging_folder("bbadger") == "/staging/b/bbadger"
    assert (
        load_profile("ospool").staging_folder("bbadger", "ap20.uc.osg-htc.org") == "/ospool/ap20/data/bbadger"
    )
    assert load_profile("generic").staging_folder("bbadger") is None


def test_an_input_that_is_too_large_for_the_access_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A site that says what it wants refuses it and names its folder and page; elsewhere it is advice.
    What the limit allows is taken.
    """
    path, named = tmp_path / "big", "--input file:///…"
    monkeypatch.setenv("LOGNAME", "bbadger")
    chtc = load_profile("chtc")
    assert large_file(chtc, path, chtc.limits.transfer, named) is None
    refused = large_file(chtc, path, chtc.limits.transfer + 10**9, named)
    assert refused is not None
    assert refused.is_refused
    assert refused.said.startswith(f"the input {path} has 2.0 GB, which would go through the access point")
    assert "wants at most 1.0 GB to come that way" in refused.said
    copied = f"scp {path} bbadger@transfer.chtc.wisc.edu:/staging/b/bbadger/"
    assert refused.hint == f"{copied}; then name it there: {named}; {chtc.page}"
    ospool = large_file(load_profile("ospool"), path, 2 * 10**9, named)
    assert ospool is not None
    assert ospool.hint.startswith("put it into /ospool/")
    advice = large_file(load_profile("generic"), path, 2 * 10**9, named)
    assert advice is not None
    assert (advice.is_refused, named in advice.hint) == (False, True)
    bare = large_file(Profile(name="ours"), path, 3 * 10**9, named)
    assert bare is not None
    assert bare.said.endswith("; ours wants at most 1.0 GB to come that way")
    assert bare.hint == f"put it where jobs can fetch it: {named}"


@pytest.mark.parametrize(
    ("host", "site"),
    [
        ("ap2001.chtc.wisc.edu", "chtc"),
        ("AP40.uw.osg-htc.org", "ospool"),
        ("lxplus901.cern.ch", "cern"),
        ("ldas-osg.ligo-wa.caltech.edu", "ligo"),
        ("laptop.example.org", "generic"),
    ],
)
def test_the_site_is_found_by_the_name_of_the_access_point(host: str, site: str) -> None:
    """On a site's access point its profile is found; elsewhere the generic one."""
    assert find_profile(host=host).name == site


@pytest.mark.parametrize(
    ("schedds", "site", "afs", "eos"),
    [
        ("share", "cern", True, False),
        ("eossubmit", "cern-eos", False, True),
        ("spool", "cern-spool", True, False),
    ],
)
def test_schedds_of_cern_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, schedds: str, site: str, afs: bool, eos: bool
) -> None:
    """The module that was loaded says which schedds are meant: ordinary ones take AFS, EosSubmit only EOS."""
    monkeypatch.setenv("_myschedd_POOL", schedds)
    found = find_profile(host="lxplus901.cern.ch")
    assert (found.name, found.every.walltime) == (site, load_profile("cern").every.walltime)
    for folder, taken in (("/afs/cern.ch/user/b/badger", afs), ("/eos/user/b/badger", eos)):
        with (
            contextlib.nullcontext()
            if taken
            else pytest.raises(FolderNotAllowed, match="cannot be submitted")
        ):
            found.check_folder(Path(folder))


def test_what_the_user_wrote_comes_before_what_is_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On machines that both fit the user's profile is in force; one that extends a site's is in force only
    where it says so itself.
    """
    own = '[profile.zoo]\nextends = "chtc"\n'
    settings = configured(tmp_path, monkeypatch, own)
    assert find_profile(settings, "ap2001.chtc.wisc.edu").name == "chtc"
    settings = configured(tmp_path, monkeypatch, own + 'hosts = ["ap*.chtc.wisc.edu"]\n')
    assert find_profile(settings, "ap2001.chtc.wisc.edu").name == "zoo"


def test_a_job_without_an_account_is_refused_where_the_site_wants_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LIGO fails a job without an accounting tag at once: maps and runs say so before anything is written,
    and how it is said.
    """
    with pytest.raises(AccountingMissing, match="accounting_group") as caught:
        load_profile("ligo").apply(job())
    assert "[profile.ligo.every.submit]" in str(caught.value.hint)
    with pytest.raises(AccountingMissing):
        wingspan.map(abs, [-1], pool="local", options=wingspan.Options(profile="ligo"))
    said = wingspan.Options(profile="ligo", submit={"Accounting_Group": "ligo.dev.o4"})
    assert list(wingspan.map(abs, [-1], pool="local", options=said)) == [1]
    tag = '[profile.ligo.every.submit]\naccounting_group = "ligo.dev.o4"\n'
    ligo = load_profile("ligo", configured(tmp_path, monkeypatch, tag))
    assert ligo.apply(job()).submit["accounting_group"] == "ligo.dev.o4"
    assert ligo.origin == "shipped, changed in config.toml"


def test_many_jobs_come_into_the_queue_one_after_the_other() -> None:
    """The OSPool wants more than 10,000 jobs to be submitted with max_idle; what the user says wins."""
    ospool = load_profile("ospool")
    many = attrs.evolve(job(), count=10_001)
    assert ospool.apply(many).max_idle == 2000
    assert ospool.apply(attrs.evolve(many, max_idle=9)).max_idle == 9
    assert ospool.apply(attrs.evolve(many, count=10_000)).max_idle is None


_FEW = """
[profile.few]
queue = { per_submission = 2, per_owner = 3 }
"""


@pytest.mark.htcondor
def test_a_site_takes_so_many_jobs(
    personal_pool: PersonalPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map gets as many workers as the site takes, in submissions of the size that it takes; a run that has
    more jobs is refused before anything is written.
    """
    (tmp_path / "wingspan-data").mkdir(exist_ok=True)
    (tmp_path / "wingspan-data/personal-pool").symlink_to(personal_pool.directory)
    configured(tmp_path, monkeypatch, _FEW)
    options = wingspan.Options(profile="few", workers=5, block_size=1)
    m = wingspan.map(abs, range(-6, 0), pool="personal", options=options)
    assert sorted(m) == [1, 2, 3, 4, 5, 6]
    assert [entry["count"] for entry in submissions(m)] == [2, 1]
    with pytest.raises(TooManyJobs, match=r"only \d more are taken now|you have \d"):
        wingspan.run(["echo", "{n}"], sweep={"n": range(4)}, pool="personal", profile="few")
    assert not list((tmp_path / "wingspan-data").glob("runs/[!.]*"))


def test_rendered_files_keep_to_what_a_submission_may_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a long sweep the file submits so many jobs, and says how the others are submitted; with a max_idle
    that the site wants they go at once. A job without an account is refused here, too.
    """
    text = _FEW + "[profile.late]\nqueue = { per_owner = 4, max_idle = 2 }\n"
    configured(tmp_path, monkeypatch, text)
    for site, wanted in (("few", ("rows = :2\n", "rows = 2:4")), ("late", ("rows = :\n", "max_idle = 2\n"))):
        render("htcondor", tmp_path / site, ["echo", "{n}"], profile=site, sweep={"n": range(5)})
        (description,) = (path.read_text() for path in (tmp_path / site).glob("*.sub"))
        assert all(part in description for part in wanted)
    with pytest.raises(AccountingMissing):
        render("htcondor", tmp_path / "ligo", ["true"], profile="ligo")


def test_the_user_adds_to_a_shipped_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of the same name is laid over the shipped one, key by key."""
    settings = configured(
        tmp_path, monkeypatch, '[profile.ospool.every.attributes]\nProjectName = "UWMadison_Badger"\n'
    )
    applied = load_profile("ospool", settings).apply(job(time_limit=HOUR))
    assert dict(applied.custom) == {"ProjectName": "UWMadison_Badger", "JobDurationCategory": "Medium"}


def test_the_user_makes_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new name may extend another profile; its access points are then found by their names."""
    settings = configured(
        tmp_path,
        monkeypatch,
        '[profile.lab]\nextends = "chtc"\ntitle = "Our lab"\nhosts = ["submit.lab.example.org"]\n'
        'operations = 200\n[profile.lab.cpu]\ntime_limit = "30 min"\n',
    )
    lab = find_profile(settings, "submit.lab.example.org")
    assert lab.operations == 200
    assert operations_of(wingspan.Options(profile="lab"), LocalPool()) == 200
    assert operations_of(wingspan.Options(), LocalPool()) is None
    assert load_profile("lab") == lab  # without settings: those of the user
    assert (lab.name, lab.title, lab.cpu.time_limit) == ("lab", "Our lab", 1800)
    assert lab.gpu.attributes == {"WantGPULab": True}
    assert load_profile("chtc", settings).cpu.time_limit == 72 * HOUR


def test_a_profile_of_a_generic_one_is_no_site_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a title of its own, messages call it by its name, not "Any HTCondor pool"."""
    settings = configured(tmp_path, monkeypatch, '[profile.lab]\nextends = "generic"\n')
    assert load_profile("lab", settings).title == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[profile.lab]\ntitel = 'x'\n", r"\[profile.lab\] has no key 'titel'"),
        ("[profile.lab.cpu]\ntime_limit = '12 hours'\n", r"\[profile.lab\].cpu.time_limit = '12 hours'"),
        ("[profile.lab]\nextends = 'chct'\n", "extends 'chct', which is not there"),
        ("[profile.lab]\nextends = ['chtc']\n", r"extends \['chtc'\], which is not there"),
        ("[profile.lab]\nextends = 'lab'\n", r"\[profile.lab\] extends itself"),
        ("[profile.chtc]\nextends = 'chtc'\n", r"\[profile.chtc\] extends itself"),
        (
            "[profile.chtc]\nextends = 'ospool'\n[profile.ospool]\nextends = 'chtc'\n",
            r"in a circle: \[profile.(chtc|ospool)\] extends \[profile.(chtc|ospool)\] extends \[profile.(chtc|ospool)\]",
        ),
        (
            "[profile.a]\nextends = 'b'\n[profile.b]\nextends = 'c'\n[profile.c]\nextends = 'a'\n",
            "in a circle",
        ),
        ("[profile.lab]\ntitle = 3\n", "title = 3: str is wanted"),
        ("[profile.lab]\noperations = 0\n", "operations = 0: a number above 0 is wanted"),
        ("[profile.lab.gpu.walltime]\nattribute = 'A'\n", "attribute and classes are wanted"),
        (
            "[profile.lab.gpu.walltime]\nattribute = 'A'\ndefault = 'x'\n"
            "classes = [{value = 'y', up_to = '1 h'}]\n",
            "default = 'x' is none of its classes",
        ),
        ("[profile.lab.cpu.attributes]\nA = [1]\n", r"attributes.A = \[1\]"),
        ("[profile]\nlab = 3\n", "is not a table"),
        ("[[profile.lab.slurm_gpus]]\nconstraint = 'a100'\n", "constraint and capability are wanted"),
    ],
)
def test_mistakes_in_a_profile_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    """Each mistake in the user's tables is an error that says which key."""
    settings = configured(tmp_path, monkeypatch, text)
    with pytest.raises(SettingsError, match=words):
        profiles(settings)


def test_a_profile_extends_one_that_stands_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the tables in the file does not matter, and what is extended has the user's own
    changes.
    """
    settings = configured(
        tmp_path,
        monkeypatch,
        '[profile.group]\nextends = "lab"\n[profile.lab]\nextends = "chtc"\ntitle = "Our lab"\n'
        '[profile.chtc.cpu]\ntime_limit = "30 min"\n',
    )
    group = load_profile("group", settings)
    assert (group.name, group.title, group.cpu.time_limit) == ("group", "Our lab", 1800)
    assert group.gpu.attributes == {"WantGPULab": True}


def test_an_unknown_profile_lists_the_known() -> None:
    """A mistyped name is answered with the names there are."""
    with pytest.raises(SettingsError, match="no site profile 'chct'") as caught:
        load_profile("chct")
    assert "chtc" in str(caught.value.hint)


def test_slurm_gpus_by_the_sites_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A capability becomes the features of the kinds of GPU that have it, beside those that the site or its
    user wants; none good enough is an error.
    """
    settings = configured(
        tmp_path,
        monkeypatch,
        "[[profile.delta.slurm_gpus]]\nconstraint = 'a40'\ncapability = 8.6\nmemory = '48 GB'\n"
        "[[profile.delta.slurm_gpus]]\nconstraint = 'a100'\ncapability = 8.0\nmemory = '40 GB'\n"
        "[[profile.delta.slurm_gpus]]\nconstraint = 'h200'\ncapability = 9.0\nmemory = '141 GB'\n"
        "[profile.delta.sbatch]\naccount = 'site'\nconstraint = 'ib'\nqos = 'usual'\n",
    )
    delta = load_profile("delta", settings)
    assert delta.slurm_constraint(Resources(gpus=1, gpus_minimum_capability=8.6)) == "a40|h200"
    assert delta.slurm_constraint(Resources(gpus=1, gpus_maximum_capability=8.9)) == "a40|a100"
    assert delta.slurm_constraint(Resources(gpus=1, gpus_minimum_memory=100 * 10**9)) == "h200"
    assert delta.slurm_constraint(Resources(gpus=1)) is None
    assert delta.slurm_constraint(Resources()) is None
    asked = Resources(gpus=1, gpus_minimum_capability=8.6)
    assert delta.sbatch_options(asked, {"account": "mine", "exclusive": True, "qos": False}) == {
        "account": "mine",
        "constraint": "(ib)&(a40|h200)",
        "exclusive": True,
    }
    assert delta.sbatch_options(Resources(), {})["constraint"] == "ib"
    with pytest.raises(SettingsError, match="no GPU of delta is good enough"):
        delta.slurm_constraint(Resources(gpus=1, gpus_minimum_capability=10.0))


_OURS = """
[profile.ours]
title = "Our lab"
hosts = ["*"]
is_access_point = true
"""


def test_an_access_point_is_no_place_for_computation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the personal pool nor local processes are used there, asked for or not; in a job they are."""
    configured(tmp_path, monkeypatch, _OURS)
    for name in ("personal", "local", None):
        monkeypatch.delenv("_CONDOR_SCRATCH_DIR", raising=False)
        with pytest.raises(OnAccessPoint, match="access point of Our lab"):
            choose_pool(name)
    with pytest.raises(OnAccessPoint, match="neither HTCondor nor Slurm is configured"):
        choose_pool()
    with pytest.raises(OnAccessPoint):
        wingspan.map(abs, [-1], pool="local")
    with pytest.raises(OnAccessPoint):
        wingspan.run(["true"], pool="local")
    assert [one.usable for one in explain_choice() if one.kind in ("personal", "local")] == [False, False]
    monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(tmp_path))
    assert choose_pool("local").pool.kind == "local"


def test_access_points_have_patterns_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A site's execution points are none: is_access_point may be a list of patterns."""
    chtc = load_profile("chtc")
    assert chtc.is_access_point("ap2001.chtc.wisc.edu")
    assert not chtc.is_access_point("e2042.chtc.wisc.edu")
    assert not load_profile("generic").is_access_point()
    configured(tmp_path, monkeypatch, _OURS.replace("true", '"yes"'))
    with pytest.raises(SettingsError, match="is_access_point"):
        profiles()


def test_builds_on_an_access_point_take_one_core_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One core where the site says nothing of builds; none where it wants them elsewhere, but what was
    built before is there.
    """
    from wingspan.delivery.bundle_source import build_here
    from wingspan.environments import bundles

    seen = []

    def recorded(environment: object, kind: str, *, before: object, **_: object) -> str:
        seen.append(usable_cores())
        before()  # type: ignore[operator]
        return kind

    monkeypatch.setattr(bundles, "build_bundle", recorded)
    environment: Any = types.SimpleNamespace(download_bytes=1, name="lab")
    configured(tmp_path, monkeypatch, _OURS)
    assert build_here(environment, "squashfs") == "squashfs"
    configured(tmp_path, monkeypatch, _OURS + 'builds = false\nbuild_hint = "elsewhere"\n')
    with pytest.raises(OnAccessPoint) as caught:
        build_here(environment, "squashfs")
    assert caught.value.hint == "elsewhere"
    assert build_here(environment, "pack") == "pack"
    assert seen == [1, 1, 1]


@pytest.mark.parametrize("variable", ["_condor_SCHEDD_HOST", "CONDOR_CONFIG"])
def test_a_silent_site_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A site that is configured and does not answer does not become work on this machine."""
    monkeypatch.setenv("_CONDOR_QUERY_TIMEOUT", "2")
    value = "submit.example.invalid" if variable.startswith("_") else str(tmp_path / "not-there")
    monkeypatch.setenv(variable, value)
    with pytest.raises(PoolUnavailable, match=variable) as caught:
        choose_pool()
    assert "WINGSPAN_POOL" in str(caught.value.hint)
    with pytest.raises(PoolUnavailable, match=variable):
        wingspan.map(abs, [-1])
    configured(tmp_path, monkeypatch, _OURS)
    with pytest.raises(PoolUnavailable, match=variable) as caught:
        choose_pool()
    assert "WINGSPAN_POOL" not in str(caught.value.hint), "an access point computes nothing"
    (chosen,) = (one for one in explain_choice() if one.chosen)
    assert (chosen.kind, chosen.usable) == ("htcondor", False)
