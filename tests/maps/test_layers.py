"""Options in layers: of the settings, of a function, of a call. Later ones win, and nothing is changed."""

from __future__ import annotations

import pickle
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from wingspan import Options
from wingspan.errors import SettingsError, UnknownOption


def test_later_layers_win_and_no_layer_changes() -> None:
    """What a later one sets counts, be it the default; what none sets stays; no layer is changed."""
    usual = Options(request_memory="4GB", request_cpus=4, retries=3, custom={"Project": "a", "Keep": 1})
    call = Options(request_cpus=1, request_memory=None, custom={"project": "b"}, submit={"Priority": 5})
    before = usual.as_dict(), call.as_dict()
    joined = usual.merged(call)
    assert (joined.request_cpus, joined.request_memory, joined.retries) == (1, None, 3)
    assert joined.custom == {"Keep": 1, "project": "b"}  # ClassAds do not know cases
    assert joined.submit == {"Priority": "5"}
    assert (usual.as_dict(), call.as_dict()) == before
    assert usual.merged() == usual
    assert pickle.loads(pickle.dumps(joined)).merged(Options(retries=1)) == joined.merged(Options(retries=1))


@given(st.lists(st.sampled_from([None, "A", "B", "A || B"]), max_size=4))
def test_requirements_become_one_expression(layers) -> None:
    """Each expression stands in it once, in brackets; None drops those before it."""
    joined = Options().merged(*(Options(requirements=one) for one in layers))
    last = max((at + 1 for at, one in enumerate(layers) if one is None), default=0)
    wanted = list(dict.fromkeys(layers[last:]))
    if not wanted:
        assert joined.requirements is None
    elif len(wanted) == 1:
        assert joined.requirements == wanted[0]
    else:
        assert joined.requirements == " && ".join(f"({one})" for one in wanted)


@wingspan.mapped(options=Options(request_memory="300MB", retries=1), pool="local")
def factorial(n: int) -> int:
    """Calls itself, by the name that is a `Mapped` here."""
    return n * factorial(n - 1) if n else 1


@wingspan.mapped
def named(x: int, power: int = 1) -> int:
    return x**power


def test_a_mapped_function_makes_maps_of_itself(data_dir, monkeypatch) -> None:
    """Its options come after the settings and before the call; workers call the plain function."""
    monkeypatch.setenv("WINGSPAN_OPTION_RETRIES", "7")
    monkeypatch.setenv("WINGSPAN_OPTION_REQUEST_DISK", "3GB")
    assert factorial(3) == 6
    call = Options(workers=1)
    m = factorial.map([0, 3, 4], options=call)
    assert list(m) == [1, 6, 24]
    assert m.options.request_memory == 300 << 20
    assert (m.options.retries, m.options.workers) == (1, 1)
    assert m.options.request_disk == 3 << 30
    assert call.given == {"workers"}
    again = wingspan.map(factorial, [2], options=call)  # the function brings its pool and options
    assert list(again) == [2]
    assert again.options.retries == 1
    assert again.function_name == m.function_name
    again.rerun([0], function=factorial)
    assert list(again) == [2]


def test_starmap_and_build_map_of_a_mapped_function(data_dir) -> None:
    """They are wingspan.starmap and wingspan.build_map of the function."""
    assert list(named.starmap([(2, 3)], [{}], pool="local", options=Options(workers=1))) == [8]
    with named.build_map(pool="local", options=Options(workers=1)) as calls:
        calls(3, power=2)
    assert list(calls.map) == [9]


def test_a_decorated_function_of_an_own_module(data_dir, tmp_path, monkeypatch) -> None:
    """It travels as source, to workers that need not have Wingspan."""
    (tmp_path / "decorated.py").write_text(
        "import wingspan\n\n@wingspan.mapped(options=wingspan.Options(retries=1))\ndef double(x):\n    return 2 * x\n"
        "\n@wingspan.mapped\ndef four(x):\n    return double(double(x))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    import decorated

    try:
        assert list(decorated.four.map([1, 2], pool="local", options=Options(workers=1))) == [4, 8]
    finally:
        sys.modules.pop("decorated")


def test_what_cannot_be_decorated() -> None:
    """A generator function, and options that are none, are refused where they stand."""
    with pytest.raises(wingspan.NotPicklable):
        wingspan.mapped(lambda: (yield))
    with pytest.raises(SettingsError, match="options is a dict"):
        wingspan.mapped(options={"retries": 1})  # type: ignore[call-overload]
    with pytest.raises(UnknownOption, match="no argument 'timeout'"):
        named.map([1], timeout=3)


def test_numbers_may_be_texts() -> None:
    """Where a number is wanted, its text will do: so environment variables and other tools have it."""
    assert Options(request_cpus="2", retries="0").request_cpus == 2  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        Options(request_cpus="two")  # type: ignore[arg-type]
    with pytest.raises(SettingsError):
        Options(request_cpus="-1")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["MY.Owner", "my.RequestMemory", "+ClusterId", "my.WINGSPANMAP"])
def test_reserved_names_in_any_case(name) -> None:
    """With whatever prefix, in whatever case."""
    with pytest.raises(UnknownOption, match="itself"):
        Options(custom={name: 1})
