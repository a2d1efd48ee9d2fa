"""Records that are signed with the map's key, as every machine of the pool can do it, and are not what
workers write.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import pickle
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import wingspan
from _on_disk import key
from _waiting import PATIENCE
from wingspan.cli._main import cli
from wingspan.worker import failure, formats
from wingspan.worker.transports import FileTransport

MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "60"))
KINDS = [formats.OUTPUT, formats.ERROR, formats.STDOUT, formats.STDERR, formats.HELLO, formats.HEARTBEAT, formats.REFUSED,
         formats.BYE, formats.RUN, formats.LEFT]  # fmt: skip


class Evil:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.trace,)


def forge(
    m: wingspan.Map,
    kind: int,
    payload: bytes,
    *,
    name: str = "0.7",
    count: int = 1,
    number: int = 0,
    component: int = 0,
) -> None:
    """Append a record that a worker of the map signs."""
    path = m.path / "results" / name
    at = path.stat().st_size if path.exists() else 0
    header = formats.RECORD.pack(kind, 0, count, number, component, time.time(), 0.0, 0.0, 0, len(payload))
    with path.open("ab") as file:
        file.write(formats.frame(key(m), name, at, [header], [payload]))


@pytest.fixture
def unfinished(data_dir: Path) -> wingspan.Map:
    """A map that nobody works on."""
    return wingspan.map(lambda x: x, range(3), tag="open", pool="local", options=wingspan.Options(workers=0))


def looked_at() -> str:
    """What the commands that only look say; none of them may break."""
    said = ""
    for words in (
        ["status", "open"],
        ["maps"],
        ["errors", "open"],
        ["status", "open", "--json"],
        ["logs", "open"],
    ):
        done = CliRunner().invoke(cli, words)
        assert done.exception is None or isinstance(done.exception, SystemExit | wingspan.WingspanError), (
            words,
            done.exception,
        )
        said += done.output
    return said


@pytest.mark.parametrize("kind", KINDS)
def test_looking_executes_nothing(unfinished: wingspan.Map, tmp_path: Path, kind: int) -> None:
    """A record with a pickle that executes something is looked at by every command that only looks, and
    nothing happens; the map can go.
    """
    trace = tmp_path / "trace"
    forge(unfinished, kind, pickle.dumps(Evil(trace)))
    fields = failure.crash("function", "x", chain=Evil(trace))
    forge(unfinished, kind, pickle.dumps(fields), name="0.8", component=1)
    looked_at()
    m = wingspan.load("open")
    repr(m)
    m.status()
    m._repr_html_() if hasattr(m, "_repr_html_") else None
    with contextlib.suppress(wingspan.WingspanError):
        for error in m.errors.values():
            str(error)
    assert not trace.exists()
    done = CliRunner().invoke(cli, ["rm", "open"])
    assert done.exit_code == 0, done.output
    assert not m.path.exists()
    assert not trace.exists()


def test_the_exception_of_an_error_is_read_when_it_is_asked_for(
    unfinished: wingspan.Map, tmp_path: Path
) -> None:
    """An error record is plain data; what its worker raised is in it as a pickle, which nobody reads to
    list errors.
    """
    trace = tmp_path / "trace"
    fields = failure.describe(ValueError("oh"), "call", pickle.dumps)
    fields["exception"] = pickle.dumps(Evil(trace))
    forge(unfinished, formats.ERROR, failure.dumps(fields))
    assert "oh" in looked_at()
    assert "oh" in str(wingspan.load("open").errors[0])
    assert not trace.exists()


def test_a_note_that_cannot_be_read_is_told_and_passed_over(
    unfinished: wingspan.Map, caplog: pytest.LogCaptureFixture
) -> None:
    """What a worker says that makes no sense is a warning; what others say counts."""
    forge(unfinished, formats.REFUSED, b"garbage")
    forge(unfinished, formats.OUTPUT, pickle.dumps(5), name="1.0", component=1)
    with caplog.at_level(logging.WARNING, "wingspan"):
        m = wingspan.load("open")
        assert m.get(1, timeout=PATIENCE) == 5
    assert "worker 0.7" in caplog.text


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)
payloads = (
    st.binary(max_size=40)
    | plain.map(lambda value: pickle.dumps(value, 4))
    | plain.map(lambda value: json.dumps(value, default=str).encode())
)
records = st.tuples(
    st.sampled_from(KINDS),
    payloads,
    st.integers(0, 5),
    st.sampled_from([0, 0, 1, 70_000]),
    st.sampled_from([0, 1, 2, 3, 2**32 - 1]),
)


@settings(max_examples=MANY)
@given(st.lists(records, min_size=1, max_size=4))
def test_any_signed_records(unfinished: wingspan.Map, made: list[tuple[int, bytes, int, int, int]]) -> None:
    """Whatever signed records say, looking ends in an answer or in an error of ours."""
    for path in (unfinished.path / "results").iterdir():
        path.unlink()
    for kind, payload, count, number, component in made:
        forge(unfinished, kind, payload, count=count, number=number, component=component)
    m = wingspan.load("open")
    with contextlib.suppress(wingspan.WingspanError):
        m.status()
        repr(m)
        for error in m.errors.values():
            str(error)


@settings(max_examples=MANY)
@given(
    plain
    | st.dictionaries(
        st.sampled_from(
            ["stage", "chain", "exception", "not_picklable", "input", "message", "signal", "variables"]
        ),
        plain,
    )
)
def test_what_describes_a_failure_has_the_right_types(value: object) -> None:
    """What `failure.loads` answers can be shown; anything else is a ValueError."""
    from wingspan.maps._failures import component_error, describe_refusal

    data = pickle.dumps(value)
    with contextlib.suppress(ValueError):
        describe_refusal(failure.loads(data))
    error = component_error(0, data, load=pickle.loads, host=None, worker="0.0", attempt=1)
    assert str(error)


def test_only_plain_types_are_read() -> None:
    """No name is looked up, whatever the protocol, but that of complex numbers."""
    assert failure.plain(pickle.dumps([1, 2.5, "x", b"y", None, {"a": (1 + 2j,)}])) == [
        1,
        2.5,
        "x",
        b"y",
        None,
        {"a": (1 + 2j,)},
    ]
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        for one in (Path("x"), print, ValueError("x"), io.BytesIO):
            with pytest.raises(ValueError, match="plain data names nothing"):
                failure.plain(pickle.dumps(one, protocol))


def test_what_is_no_plain_file_is_no_file_of_results(unfinished: wingspan.Map, tmp_path: Path) -> None:
    """Links, pipes and folders that a machine has put among the results are passed over, and nothing is
    written through them.
    """
    victim = tmp_path / "victim"
    victim.write_text("mine")
    results = unfinished.path / "results"
    forge(unfinished, formats.OUTPUT, pickle.dumps(5), name="1.0", component=1)
    (results / "2.0").symlink_to(victim)
    (results / "3.0").symlink_to(tmp_path / "nowhere")
    (results / "4.0").mkdir()
    os.mkfifo(results / "5.0")
    m = wingspan.load("open")
    assert m.get(1, timeout=PATIENCE) == 5
    looked_at()
    for name in ("2.0", "5.0"):
        with pytest.raises(OSError, match=r"."):
            FileTransport(str(m.path)).append(f"results/{name}", b"evil")
    assert victim.read_text() == "mine"
    m.remove()
    assert victim.read_text() == "mine"
