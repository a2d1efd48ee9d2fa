"""`MapOptions`, and what becomes of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from wingspan import htmap
from wingspan.errors import EnvironmentWarning
from wingspan.htmap import MapOptions, delivery, exceptions
from wingspan.htmap.submission import wingspan_options


def double(x):
    return 2 * x


def test_options_are_a_dict_of_submit_commands():
    """Names have one form, whatever the case of their letters, and attributes of the job a plus sign."""
    options = MapOptions(
        Request_Memory="1GB", request_cpus=2, custom_options={"MY.WantGPULab": True, "+Foo": "1"}
    )
    assert dict(options) == {"request_memory": "1GB", "request_cpus": 2, "+wantgpulab": True, "+foo": "1"}
    assert options == dict(options)
    assert options["REQUEST_CPUS"] == 2
    assert "MY.Foo" in options
    assert options == options.copy() != MapOptions()
    del options["+FOO"]
    assert "+foo" not in options


@given(st.sampled_from(sorted(MapOptions.RESERVED_KEYS)), st.randoms(use_true_random=False))
def test_reserved_names_are_refused_in_any_case(name, random):
    """As an option and as an attribute of the job, also when it is set later."""
    written = "".join(random.choice((letter.lower(), letter.upper())) for letter in name)
    for give in (
        lambda: MapOptions(**{written: "x"}),
        lambda: MapOptions(custom_options={f"+{written}": "x"}),
        lambda: MapOptions(custom_options={f"MY.{written}": "x"}),
        lambda: MapOptions().__setitem__(written, "x"),
    ):
        with pytest.raises(exceptions.ReservedOptionKeyword) as caught:
            give()
        assert isinstance(caught.value, wingspan.UnknownOption)


def test_the_leftmost_layer_counts():
    """Files of all layers come together, all requirements must hold, and no layer is changed."""
    first = MapOptions(fixed_input_files="a", request_cpus="2", requirements="HasX")
    second = MapOptions(
        fixed_input_files=["b", "c"], request_cpus="3", request_disk="1GB", requirements="HasY"
    )
    copies = first.copy(), second.copy()
    merged = MapOptions.merge(first, second)
    assert merged.fixed_input_files == ["a", "b", "c"]
    assert dict(merged) == {
        "request_cpus": "2",
        "request_disk": "1GB",
        "requirements": "(HasX) && (HasY)",
    }
    files = MapOptions(input_files=["a", ["b", "c"]])
    assert MapOptions.merge(files, first).input_files == files.input_files == ["a", ["b", "c"]]
    merged.fixed_input_files.append("d")
    assert (first, second) == copies
    each = MapOptions.merge(MapOptions(requirements=["A", "B"]), first)
    assert each["requirements"] == ["(A) && (HasX)", "(B) && (HasX)"]


def test_options_become_wingspans():
    """Numbers may be texts, a plain disk is kB, attributes are typed; other submit commands stay."""
    options = wingspan_options(
        MapOptions(
            request_cpus="2",
            request_memory="1GB",
            request_disk="2048",
            max_idle="10",
            max_retries=3,
            accounting_group="physics",
            keep_claim_idle=30,
            custom_options={
                "Project": '"physics"',
                "Length": "short",
                "Want": "true",
                "Twice": "RequestCpus * 2",
            },
        )
    )
    assert (options.request_cpus, options.request_memory, options.request_disk) == (2, 1 << 30, 2 << 20)
    assert (options.max_idle, options.retries) == (10, 3)
    assert options.custom == {"project": "physics", "length": "short", "want": True}
    assert options.submit == {
        "accounting_group": "physics",
        "keep_claim_idle": "30",
        "+twice": "RequestCpus * 2",
    }
    assert options.own_folder
    assert not wingspan_options(MapOptions(own_folder="false")).own_folder
    with pytest.raises(exceptions.ReservedOptionKeyword):
        wingspan_options(MapOptions(getenv="true"))
    with pytest.raises(wingspan.SettingsError, match="no whole number"):
        wingspan_options(MapOptions(request_gpus="one"))


def test_options_of_settings_and_functions_come_to_the_map():
    """The call's options count before the function's, and those before the settings'."""
    htmap.settings["MAP_OPTIONS.REQUEST_MEMORY"] = "64MB"
    htmap.settings["MAP_OPTIONS.REQUEST_DISK"] = "3MB"
    htmap.settings["MAP_OPTIONS.MAX_IDLE"] = "7"
    decorated = htmap.mapped(map_options=MapOptions(request_disk="2MB", max_idle=8))(double)
    m = decorated.map([1], map_options=MapOptions(max_idle=9))
    options = m.wingspan_map.options
    assert (options.request_memory, options.request_disk, options.max_idle) == (64 << 20, 2 << 20, 9)
    assert list(m) == [2]


def test_a_file_of_settings_as_sites_recommend_it():
    """Requirements and attributes of the job, in quotes as HTMap wanted them, come from the settings, too."""
    site = {"requirements": "HAS_SINGULARITY == TRUE", "+ProjectName": '"physics"'}
    htmap.settings.maps[0] = {"MAP_OPTIONS": site}
    options = {"MY.SendCredential": "true", "JobFlavour": '"espresso"'}
    m = htmap.map(double, [1], map_options=MapOptions(requirements="HasX", custom_options=options))
    made = m.wingspan_map.options
    assert made.requirements == "(HasX) && (HAS_SINGULARITY == TRUE)"
    assert made.custom == {"projectname": "physics", "sendcredential": True, "jobflavour": "espresso"}


def test_values_of_components_must_be_as_many():
    """Too few or too many values, or files, are refused before anything is made; no inputs stay no inputs."""
    for options in (
        MapOptions(request_memory=["1GB"]),
        MapOptions(input_files=["a", "b", "c"]),
        MapOptions(output_remaps=[{}, {}, {}]),
    ):
        with pytest.raises(exceptions.MisalignedInputData):
            htmap.map(double, [1, 2], map_options=options)
        with pytest.raises(exceptions.EmptyMap):
            htmap.map(double, [], map_options=options)
    assert htmap.get_tags() == ()


def test_components_may_ask_for_different_things():
    """A list has a value for each component; those that ask for the same share workers."""
    options = MapOptions(request_memory=["100MB", "200MB", "100MB"], request_disk=["1024", "1GB", 1024])
    m = htmap.starmap(lambda x, y=0: x + y, [(1,), (2,), (3,)], map_options=options)
    assert list(m) == [1, 2, 3]
    asked = {
        one.components: (one.options.request_memory, one.options.request_disk)
        for one in m.wingspan_map.requests
    }
    assert asked == {(0, 2): (100 << 20, 1 << 20), (1,): (200 << 20, 1 << 30)}
    options = MapOptions(
        accounting_group=["a", "b"],
        custom_options={"Plain": ["1", '"x"'], "Computed": ["RequestCpus * 2", "3"], "Same": "true"},
    )
    found = {
        one.components: (dict(one.options.custom), dict(one.options.submit))
        for one in htmap.map(double, [1, 2], map_options=options).wingspan_map.requests
    }
    assert found == {
        (0,): ({"same": True, "plain": 1}, {"accounting_group": "a", "+computed": "RequestCpus * 2"}),
        (1,): ({"same": True, "plain": "x"}, {"accounting_group": "b", "+computed": "3"}),
    }
    with pytest.raises(wingspan.SettingsError, match="for each component"):
        htmap.map(double, [1, 2], map_options=MapOptions(max_retries=[1, 2]))


@pytest.fixture
def _warns_anew(monkeypatch):
    monkeypatch.setattr(delivery, "_warned", set())


@pytest.mark.usefixtures("_warns_anew")
@pytest.mark.parametrize("method", ["docker", "singularity", "transplant"])
def test_delivery_methods_that_mean_something_else_say_so(method, tmp_path, monkeypatch):
    """A map is made, in this session's Python, and a warning says that once."""
    monkeypatch.chdir(tmp_path)
    htmap.settings["DELIVERY_METHOD"] = method
    with pytest.warns(EnvironmentWarning, match=f"{method}.*Python of this session"):
        assert list(htmap.map(double, [1])) == [2]
    assert list(htmap.map(double, [2])) == [4]


def test_a_locked_environment_travels_where_there_is_one(tmp_path, monkeypatch):
    """transplant takes the workspace of this folder; a setting names the environment for every method."""
    (tmp_path / "pixi.toml").write_text(
        '[workspace]\nname = "here"\nchannels = []\nplatforms = ["linux-64"]\n'
    )
    monkeypatch.chdir(tmp_path)
    htmap.settings["DELIVERY_METHOD"] = "transplant"
    assert delivery.delivered("tag") == ({}, "default")
    htmap.settings["WINGSPAN.ENVIRONMENT"] = "gpu"
    for method in ("docker", "singularity", "transplant", "assume"):
        htmap.settings["DELIVERY_METHOD"] = method
        assert delivery.delivered("tag") == ({}, "gpu")


def test_own_delivery_methods_add_submit_commands(tmp_path):
    """A registered method is asked for commands, after its setup; unknown ones are refused."""
    htmap.settings["HTMAP_DIR"] = tmp_path / "htmap"
    asked = []

    def describe(tag, folder):
        asked.append(("describe", tag, folder.is_dir()))
        return {"universe": "vanilla", "executable": "x", "accounting_group": "physics"}

    htmap.register_delivery_method("ours", describe, lambda tag, folder: asked.append(("set up", tag)))
    htmap.settings["DELIVERY_METHOD"] = "ours"
    m = htmap.map(double, [1], tag="delivered")
    assert asked == [("set up", "delivered"), ("describe", "delivered", True)]
    assert m.wingspan_map.options.submit == {"accounting_group": "physics"}
    assert list(m) == [2]
    delivery.unregister_delivery_mechanism("ours")
    with pytest.raises(exceptions.UnknownPythonDeliveryMethod, match="ours"):
        htmap.map(double, [1])
