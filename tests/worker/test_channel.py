"""The channel between a component and its supervisor: what is said arrives, and who asks is answered."""

from __future__ import annotations

import select
import struct

import pytest

from wingspan.worker import channel

LENGTH = struct.Struct("<I")


def test_what_is_said_arrives_in_its_order(ends):
    """Messages come out as they went in, and then no more."""
    assert ends.speaker.say(kind="a", at=[0, 0, 1])
    assert ends.speaker.say(kind="b", text="é\n")
    assert list(ends.channel.messages()) == [{"kind": "a", "at": [0, 0, 1]}, {"kind": "b", "text": "é\n"}]
    assert list(ends.channel.messages()) == []


def test_half_a_message_waits_for_its_rest(ends):
    """What has arrived in part is kept until all of it is there."""
    text = b'{"kind": "a"}'
    for part in (LENGTH.pack(len(text))[:2], LENGTH.pack(len(text))[2:] + text[:5]):
        ends.write(part)
        assert list(ends.channel.messages()) == []
    ends.write(text[5:])
    assert list(ends.channel.messages()) == [{"kind": "a"}]


def test_what_is_no_message_is_left_out(ends):
    """What the user's code writes into the pipe hides none of the messages behind it."""
    for text in (b"\xff\xfe", b"not JSON", b"[1, 2]"):
        ends.write(LENGTH.pack(len(text)) + text)
    ends.speaker.say(kind="after")
    assert list(ends.channel.messages()) == [{"kind": "after"}]


def test_a_message_that_is_too_long_is_not_said(ends):
    """More than a pipe takes at once is not sent in part: the one who says it learns so."""
    assert ends.speaker.say(kind="long", text="x" * select.PIPE_BUF) is False
    assert list(ends.channel.messages()) == []


def test_a_full_pipe_does_not_stop_the_function(ends):
    """What nobody reads is dropped at last. What was taken arrives, and there is room again."""
    text, taken = "x" * 3000, 0
    while ends.speaker.say(number=taken, text=text):
        taken += 1
    assert taken > 0
    assert [one["number"] for one in ends.channel.messages()] == list(range(taken))
    assert ends.speaker.say(kind="again")


def test_nobody_is_left_to_listen(ends):
    """A supervisor that has ended is no error of the component."""
    ends.end_supervisor()
    assert ends.speaker.say(kind="a") is False


def test_an_answer_comes_too_late(ends):
    """An executor that has ended is no error of the supervisor, which finds no messages of it."""
    ends.end_executor()
    ends.channel.answer({"restored": True})
    assert list(ends.channel.messages()) == []


def test_the_answer_goes_to_the_one_who_has_asked(ends):
    """`ask` gives what the supervisor answers, and has told it what for."""
    ends.channel.answer({"restored": True})
    assert ends.speaker.ask(kind="restore", at=[0, 0, 1]) == {"restored": True}
    assert list(ends.channel.messages()) == [{"kind": "restore", "at": [0, 0, 1]}]


def test_an_error_of_the_supervisor_is_raised_where_it_was_asked(ends):
    """What the supervisor could not do is an OSError of the function, in the supervisor's words."""
    ends.channel.answer({"error": "no space left"})
    with pytest.raises(OSError, match=r"^no space left$"):
        ends.speaker.ask(kind="checkpoint")


def test_more_than_one_message_cannot_be_asked(ends):
    """It is refused before anything is sent, with what to do."""
    with pytest.raises(ValueError, match=r"checkpoint: \d+ bytes .*: give a folder instead"):
        ends.speaker.ask(kind="checkpoint", files="x" * select.PIPE_BUF)
    assert list(ends.channel.messages()) == []


def test_a_fork_of_the_function_may_not_ask(ends, monkeypatch):
    """It would take the answer that is meant for the component's own process."""
    monkeypatch.setattr(channel, "forked_off", [True])
    with pytest.raises(RuntimeError, match=r"checkpoint is for the process .* forked off"):
        ends.speaker.ask(kind="checkpoint")
    assert list(ends.channel.messages()) == []
