"""Messages between two processes: complete, in order, with an end that is noticed."""

import threading

import pytest

from seg_edge.capture.channel import Channel, channel_pair


def test_messages_arrive_complete_and_in_order_both_ways() -> None:
    ours, theirs = channel_pair()
    sent = [1, "begin", {"a": (1, 2.5)}, b"x" * 5000, None]
    for message in sent:
        ours.send(message)
        theirs.send(message)
    assert [theirs.receive(1) for _ in sent] == sent
    assert [ours.receive() for _ in sent] == sent


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_no_message_in_time_raises(seconds: float) -> None:
    ours, theirs = channel_pair()
    with pytest.raises(TimeoutError):
        ours.receive(seconds)
    theirs.send(1)
    assert ours.receive(seconds) == 1


def test_a_message_wakes_the_receiver() -> None:
    ours, theirs = channel_pair()
    threading.Timer(0.1, theirs.send, ("now",)).start()
    assert ours.receive(60) == "now"


def test_the_other_end_s_closing_is_noticed_after_what_it_sent() -> None:
    ours, theirs = channel_pair()
    theirs.send("last")
    theirs.close()
    theirs.close()
    assert ours.receive(1) == "last"
    with pytest.raises(EOFError):
        ours.receive(1)
    with pytest.raises(OSError, match="pipe|Connection"):
        ours.send("too late")


def test_last_messages_arrive_even_if_the_other_end_left_some_unread() -> None:
    ours, theirs = channel_pair()
    ours.send("unread")
    theirs.send("last")
    theirs.close()
    assert ours.receive(1) == "last"
    with pytest.raises(EOFError):
        ours.receive(1)


def test_an_end_can_be_passed_as_a_file_descriptor() -> None:
    ours, theirs = channel_pair()
    again = Channel.of(theirs.fileno())
    ours.send(7)
    assert again.receive(1) == 7
