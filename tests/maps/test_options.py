"""Options: checked when they are written down, not when the job is held."""

from __future__ import annotations

import json
from types import SimpleNamespace

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from wingspan import Options
from wingspan.errors import SettingsError, UnknownOption
from wingspan.jobs import Size, parse_duration, parse_size
from wingspan.pools.submit_description import classad_literal
from wingspan.runs import InvalidRun
from wingspan.runs._units import parse_size as parse_size_of_run


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2GB", 2 * 2**30),
        ("2 gb", 2 * 2**30),
        ("2GiB", 2 * 2**30),
        ("2G", 2 * 2**30),
        ("1.5MB", 3 * 2**19),
        ("1TB", 2**40),
        ("1024", 2**30),
        (1024, 2**30),
        (0.5 * 4, 2 * 2**20),
        ("2097152 B", 2**21),
        (Size(2**20 + 1), 2**20 + 1),
    ],
)
def test_sizes_are_read(text, size):
    """Sizes are texts with HTCondor's binary units; a plain number is MB."""
    assert parse_size(text) == size
    assert Options(request_memory=text).request_memory == size
    assert Options(request_disk=text).request_disk == size


@pytest.mark.parametrize(
    "size",
    [
        "",
        "GB",
        "2XB",
        "-1GB",
        "2 GB GB",
        "1e9",
        "two",
        -1,
        0,
        0.5,
        True,
        "0GB",
        "512B",
        "0.5",
        "1MBB",
        "1 0",
        "\u0661GB",
        1e300,
        float("nan"),
        "9" * 30,
    ],
)
def test_what_is_no_size_is_refused(size):
    """Anything else is a SettingsError with an example."""
    with pytest.raises(SettingsError) as caught:
        Options(request_memory=size)
    assert "request_memory" in str(caught.value)
    assert caught.value.hint


@given(
    st.integers(1, 2**42)
    | st.floats(1, 2**40)
    | st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,3})? ?([kKMGTP]i?[bB]?|B)?", fullmatch=True)
)
def test_maps_and_runs_read_a_size_alike(size):
    """Whatever is written: both take it for the same, or both refuse it in the same words; a size that
    was read stays what it is.
    """
    read, told = [], []
    for parse, kind in ((parse_size, SettingsError), (parse_size_of_run, InvalidRun)):
        try:
            read.append(parse(size, "memory"))
        except kind as error:
            told.append((error.message, error.hint))
    assert len(set(read)) + len(set(told)) == 1
    if read:
        assert parse_size(read[0]) == read[0] == parse_size(f"{read[0]}B")
        if not isinstance(size, str) and float(size).is_integer():
            assert read[0] == size * 2**20


def test_options_that_are_changed_keep_their_sizes():
    """A size is read once: what is made of options asks for as much."""
    options = attrs.evolve(Options(request_memory="2GB", request_disk=10), workers=1)
    assert (options.request_memory, options.request_disk) == (2**31, 10 * 2**20)
    again = Options.from_dict(json.loads(json.dumps(options.as_dict())))
    assert (again.request_memory, again.request_disk) == (2**31, 10 * 2**20)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("request_cpus", 0),
        ("request_cpus", 1.5),
        ("request_cpus", True),
        ("request_gpus", -1),
        ("workers", -1),
        ("block_size", 0),
        ("retries", -1),
        ("retries", None),
        ("max_idle", 0),
        ("requirements", ""),
        ("requirements", 5),
    ],
)
def test_values_that_cannot_be_used_are_refused(name, value):
    """The error names the option and shows what would do."""
    with pytest.raises(SettingsError, match=name) as caught:
        Options(**{name: value})
    assert isinstance(caught.value, ValueError)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("request_memroy", "request_memory"),
        ("RequestCpus", "request_cpus"),
        ("blocksize", "block_size"),
        ("retry", "retries"),
        ("Workers", "workers"),
    ],
)
def test_unknown_options_name_the_nearest(wrong, right):
    """A misspelt option is refused with the one that was probably meant."""
    with pytest.raises(UnknownOption, match=wrong) as caught:
        Options(**{wrong: 1})
    assert isinstance(caught.value, TypeError)
    assert repr(right) in caught.value.hint


@pytest.mark.parametrize("name", ["universe", "executable", "arguments", "log", "queue", "Universe"])
def test_reserved_options_are_refused(name):
    """What Wingspan sets itself cannot be set, by whichever way."""
    for given_ in ({name: "x"}, {"custom": {name: "x"}}, {"submit": {name: "x"}}):
        with pytest.raises(UnknownOption, match="itself"):
            Options(**given_)


@pytest.mark.parametrize("name", ["", "a b", "1st", "a-b", "+", "MY.", "a=b"])
def test_custom_attributes_need_a_name_of_a_classad(name):
    """Names that no ClassAd attribute can have are refused."""
    with pytest.raises(SettingsError, match="custom"):
        Options(custom={name: 1})


def test_custom_attributes_are_taken_with_or_without_plus():
    """A leading + or MY. is left out; strings that are quoted already are told."""
    options = Options(custom={"+WantGPULab": True, "MY.Length": "short", "Plain": 2.5})
    assert dict(options.custom) == {"WantGPULab": True, "Length": "short", "Plain": 2.5}
    with pytest.raises(SettingsError, match="quoted twice") as caught:
        Options(custom={"Length": '"short"'})
    assert "'short'" in caught.value.hint
    with pytest.raises(SettingsError, match="dict"):
        Options(custom={"Length": {"short": 1}})


def test_submit_commands_are_one_line_and_no_options():
    """Further submit commands are text of one line; what has an option of its own is refused with it."""
    assert Options(submit={"accounting_group": "physics"}).submit["accounting_group"] == "physics"
    with pytest.raises(SettingsError, match="one line"):
        Options(submit={"a": "b\nqueue 100"})
    with pytest.raises(UnknownOption) as caught:
        Options(submit={"Request_Memory": "1GB"})
    assert "request_memory" in caught.value.hint


def test_times_are_those_of_runs():
    """With a unit, or seconds: what wingspan run takes for --time."""
    assert [Options(time=each).time for each in ("2h", 90, "1-06:00:00", None)] == [7200, 90, 108000, None]
    for wrong in ("90", "soon", 0, True, 1.5):
        with pytest.raises(SettingsError, match="time") as caught:
            Options(time=wrong)
        assert caught.value.hint


def test_workers_have_what_the_site_wants(tmp_path, monkeypatch):
    """With a time or without one; the time chooses the class that the site's profile has for it; more
    than the site gives is refused.
    """
    from wingspan.maps._worker_job import worker_job
    from wingspan.pools import profiles
    from wingspan.pools.htcondor import HTCondorPool

    monkeypatch.setattr(
        profiles, "chosen_profile", lambda name, settings=None: profiles.load_profile(name or "chtc")
    )
    folder = SimpleNamespace(
        path=tmp_path,
        info=SimpleNamespace(tag="a", id="b", files=None, chain=None, interpreter={}),
        delivery=None,
    )

    def custom(**options):
        return dict(worker_job(folder, Options(request_gpus=1, **options), HTCondorPool(), 0, 1).custom)

    assert custom() == {"WingspanMap": "b", "WantGPULab": True}
    assert custom(custom={"wantgpulab": False}) == {"WingspanMap": "b", "wantgpulab": False}
    assert custom(profile="cern")["JobFlavour"] == "workday"
    assert custom(time="10h") == {"WingspanMap": "b", "WantGPULab": True, "GPUJobLength": "short"}
    assert custom(time="10h", custom={"GPUJobLength": "long"})["GPUJobLength"] == "long"
    with pytest.raises(profiles.WalltimeNotAllowed, match="8 d"):
        custom(time="8d")
    job = worker_job(folder, Options(switches=["want_ospool"]), HTCondorPool(), 0, 1)
    assert job.submit["want_ospool"] == "true"


def test_options_survive_json():
    """Options are written to map.json and read again."""
    options = Options(
        time="2h",
        request_memory="2GB",
        workers=3,
        retries=1,
        custom={"A": "b"},
        submit={"c": "d"},
        requirements="HasX",
    )
    again = Options.from_dict(json.loads(json.dumps(options.as_dict())))
    assert again == options


def test_options_cannot_be_changed():
    """Options are frozen: what was checked stays as it was checked."""
    with pytest.raises(AttributeError):
        Options().workers = 0


def test_a_line_break_does_not_add_submit_commands():
    """Requirements and attributes of two lines are refused; infinities become ClassAd literals."""
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(requirements="true\nqueue 100")
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(custom=["A"])
    with pytest.raises(wingspan.SettingsError):
        wingspan.Options(custom={"A": "a\nqueue 100"})
    assert classad_literal(float("inf")) == 'real("INF")'


@pytest.mark.parametrize("name", ["ProcId", "Requirements", "+RequestCpus", "MY.Cmd"])
def test_attributes_of_htcondors_own_are_refused(name):
    """A custom attribute that HTCondor or an option of ours sets is refused, not half-obeyed."""
    with pytest.raises(wingspan.UnknownOption, match="itself"):
        wingspan.Options(custom={name: 3})


def test_a_wrong_pool_in_the_settings_is_blamed_on_the_settings(monkeypatch, tmp_path):
    """A pool or an option that the user did not write in the script names the file, or the variable, that
    did.
    """
    config = tmp_path / "config"
    config.mkdir()
    (config / "config.toml").write_text('pool = "persnal"\n')
    with pytest.raises(wingspan.SettingsError, match=r"config\.toml: there is no pool 'persnal'"):
        wingspan.map(abs, [1])
    monkeypatch.setenv("WINGSPAN_POOL", "nope")
    with pytest.raises(wingspan.SettingsError, match="WINGSPAN_POOL: there is no pool 'nope'"):
        wingspan.map(abs, [1])
    (config / "config.toml").write_text('[options]\nrequest_memroy = "1GB"\n')
    with pytest.raises(wingspan.UnknownOption, match=r"config\.toml, \[options\].*request_memroy") as caught:
        wingspan.map(abs, [1], pool="local")
    assert "request_memory" in caught.value.hint


@pytest.mark.parametrize(
    "text", ["9" * 400 + "d", "9" * 5000 + "h", "9" * 5000, "5" * 400 + ":00:00", "2²h", "２h", 10**15]
)
def test_a_time_that_no_site_knows_is_refused(text):
    """Digits without end, those of other scripts, and thousands of years are no times, and in sizes no sizes:
    said in words, not by what Python raises.
    """
    with pytest.raises(SettingsError) as caught:
        parse_duration(text)
    assert len(str(caught.value)) < 300
    with pytest.raises(SettingsError):
        parse_size(f"{text}".replace("h", "M"))
