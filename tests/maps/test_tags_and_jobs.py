"""Tags as files, and the state machine of a map's jobs, without any pool."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from wingspan.jobs import Submission
from wingspan.maps._errors import InvalidTag, TagExists, TagNotFound
from wingspan.maps._jobs import Jobs
from wingspan.maps._tags import check_tag, find_tag, list_tags, new_tag, remove_tag, write_tag
from wingspan.pools import JobEvent, JobState

ID, OTHER = "20261121-000000-00000000", "20261121-000000-ffffffff"


def test_a_tag_belongs_to_one_map(tmp_path):
    """A tag is given once, found, listed, and taken away only from the map that has it."""
    folder = tmp_path / "tags"
    assert list_tags(folder) == ()
    write_tag(folder, "one", ID)
    with pytest.raises(TagExists):
        write_tag(folder, "one", OTHER)
    assert find_tag(folder, "one") == ID
    write_tag(folder, "Two", OTHER)
    assert list_tags(folder) == ("Two", "one")
    assert list_tags(folder, "T*") == ("Two",)
    assert list_tags(folder, "t*") == ()
    remove_tag(folder, "one", OTHER)
    assert find_tag(folder, "one") == ID
    remove_tag(folder, "one", ID)
    with pytest.raises(TagNotFound):
        find_tag(folder, "one")
    remove_tag(folder, "one", ID)
    assert [path.name for path in folder.iterdir()] == ["Two"]


@given(st.text(max_size=140))
def test_a_tag_is_one_name_or_refused(tag):
    """Whatever passes is one file name that needs no quoting anywhere; whatever does not is an InvalidTag
    with a hint.
    """
    try:
        assert check_tag(tag) == tag
    except InvalidTag as error:
        assert error.hint  # noqa: PT017
    else:
        assert 0 < len(tag.encode()) <= 128
        assert not set(tag) & set("/\\ \n\t\"'$`*?<>|;&(){}[]!:\0")
        assert tag[0] not in ".-"


def test_a_made_up_tag_that_another_session_has_just_taken_is_made_up_anew(data_dir, monkeypatch):
    """Two sessions may think of the same tag at once: nobody chose it, so neither map is refused."""
    monkeypatch.setattr("wingspan.maps._create.new_tag", lambda folder: "calm-heron")
    first, second = (
        wingspan.map(abs, [-x], pool="local", options=wingspan.Options(workers=0)) for x in (1, 2)
    )
    assert first.tag == "calm-heron" != second.tag
    assert [wingspan.load(m.tag).path for m in (first, second)] == [first.path, second.path]


def test_made_up_tags_are_valid_and_free(tmp_path):
    """A made-up tag can be used as it is, and is none that is there."""
    for _ in range(300):
        tag = new_tag(tmp_path)
        assert check_tag(tag) == tag
        assert not (tmp_path / tag).exists()
        (tmp_path / tag).touch()


def event(state, proc=0, cluster="7", **more):
    return JobEvent(cluster=cluster, proc=proc, state=state, time=0.0, **more)


@pytest.fixture
def jobs():
    """Two jobs, workers 5 and 6."""
    made = Jobs()
    made.add(Submission(pool="personal", cluster="7", count=2), 5)
    return made


def test_jobs_begin_idle(jobs):
    """Submitted jobs wait; they are live and can progress."""
    assert jobs.counts() == {JobState.IDLE: 2}
    assert [job.worker for job in jobs.live()] == [5, 6]
    assert jobs.can_progress
    assert jobs.held == jobs.removed == []


def test_schedulers_that_number_their_jobs_alike(jobs):
    """Jobs of two pools with the same number are two jobs, and each pool tells of its own."""
    jobs.add(Submission(pool="slurm", cluster="7", count=2), 7)
    assert jobs.apply(event(JobState.RUNNING), "slurm")
    assert jobs.apply(event(JobState.HELD, proc=-1), "personal")
    states = {worker: job.state for worker, job in jobs.by_worker.items()}
    assert states == {5: JobState.HELD, 6: JobState.HELD, 7: JobState.RUNNING, 8: JobState.IDLE}


def test_events_change_states(jobs):
    """Running, evicted, held with its reason, released, completed with its code."""
    assert jobs.apply(event(JobState.RUNNING, host="slot1@here"))
    job = jobs.by_worker[5]
    assert (job.state, job.started, job.host) == (JobState.RUNNING, True, "slot1@here")
    assert not jobs.apply(event(JobState.RUNNING))
    assert jobs.apply(event(JobState.IDLE, reason="evicted"))
    assert job.evictions == 1
    assert jobs.apply(event(JobState.HELD, code=21, reason="too much memory"))
    assert [(one.code, one.reason) for one in jobs.held] == [(21, "too much memory")]
    assert jobs.can_progress
    jobs.apply(event(JobState.HELD, proc=1))
    assert not jobs.can_progress
    jobs.apply(event(JobState.IDLE))
    assert jobs.can_progress
    jobs.apply(event(JobState.COMPLETED, code=0))
    assert [one.worker for one in jobs.live()] == [6]


@pytest.mark.parametrize("final", [JobState.REMOVED, JobState.COMPLETED])
@pytest.mark.parametrize("late", [JobState.IDLE, JobState.RUNNING, JobState.HELD])
def test_nothing_follows_the_end(jobs, final, late):
    """An event that is told late, or again, does not bring a job back that has left."""
    assert jobs.apply(event(final))
    assert not jobs.apply(event(late))
    assert jobs.by_worker[5].state is final


def test_events_of_unknown_jobs_wait(jobs):
    """The first events of a job may be read before its submission is known; other clusters' events change
    nothing.
    """
    assert not jobs.apply(event(JobState.RUNNING, cluster="8"))
    assert jobs.counts() == {JobState.IDLE: 2}
    jobs.add(Submission(pool="local", cluster="8", count=1), 9)
    assert jobs.by_worker[9].state is JobState.RUNNING
    assert jobs.by_worker[9].pool == "local"


def test_an_event_about_a_cluster_is_about_all_its_jobs(jobs):
    """A removed cluster takes all its jobs that have not ended."""
    jobs.apply(event(JobState.COMPLETED, proc=1))
    assert jobs.apply(event(JobState.REMOVED, proc=-1, reason="by admin"))
    assert jobs.by_worker[5].state is JobState.REMOVED
    assert jobs.by_worker[6].state is JobState.COMPLETED
    assert [job.reason for job in jobs.removed] == ["by admin"]


def test_a_submission_known_twice_counts_once(jobs):
    """Reading the same submission again changes nothing."""
    jobs.apply(event(JobState.RUNNING))
    jobs.add(Submission(pool="personal", cluster="7", count=2), 5)
    assert jobs.counts() == {JobState.RUNNING: 1, JobState.IDLE: 1}


@given(st.lists(st.tuples(st.sampled_from(list(JobState)), st.integers(-1, 2)), max_size=30))
def test_counts_always_add_up(events):
    """Whatever events come in whatever order, every known job is in exactly one state, and ends once."""
    jobs = Jobs()
    jobs.add(Submission(pool="personal", cluster="7", count=2), 0)
    ended = {}
    for state, proc in events:
        jobs.apply(event(state, proc=proc))
        assert sum(jobs.counts().values()) == 2
        for worker, job in jobs.by_worker.items():
            if worker in ended:
                assert job.state is ended[worker]
            elif job.state.is_final:
                ended[worker] = job.state
    assert len(jobs.live()) == 2 - len(ended)


def test_tags_of_the_world():
    """A tag may be written in any script; one that is no text at all is refused as a tag."""
    assert list(wingspan.map(abs, [-1], tag="größe-π-蛇", pool="local")) == [1]
    assert wingspan.load("größe-π-蛇")[0] == 1
    for function in (wingspan.load, lambda tag: wingspan.map(abs, [1], tag=tag, pool="local")):
        with pytest.raises(wingspan.InvalidTag):
            function("x\udcff")  # what the shell makes of bytes that are no UTF-8
