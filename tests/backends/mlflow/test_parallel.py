"""Requests, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from multitrack.errors import AuthError, PermanentError, TransientError
from multitrack_mlflow.parallel import Requests

PATIENCE = 20.0


@pytest.fixture
def requests() -> Iterator[Requests]:
    made = Requests(2, parallel=True)
    yield made
    made.close()


class Gate:
    """Holds those who pass until it is opened, and counts them."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = self.most = self.through = 0
        self._mutex = threading.Lock()

    def __call__(self, _: object) -> None:
        with self._mutex:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.opened.wait(PATIENCE)
        with self._mutex:
            self.inside -= 1
            self.through += 1


def test_the_last_ones_are_left_under_way_and_waited_for(requests: Requests) -> None:
    gate = Gate()
    requests.begin(gate, [1, 2])  # would never return otherwise
    assert gate.through == 0
    gate.opened.set()
    requests.wait()
    assert gate.through == 2


def test_no_more_than_so_many_are_under_way(requests: Requests) -> None:
    gate = Gate()
    gate.opened.set()
    requests.begin(gate, range(30))
    requests.begin(gate, range(30))
    requests.wait()
    assert (gate.through, gate.most <= 2) == (60, True)


def test_each_returns_when_all_are_done(requests: Requests) -> None:
    gate = Gate()
    threading.Timer(0.05, gate.opened.set).start()
    requests.each(gate, range(5))
    assert gate.through == 5


def test_a_failure_comes_with_the_next_call_and_nothing_more_is_begun(requests: Requests) -> None:
    done: list[int] = []

    def do(item: int) -> None:
        done.append(item)
        if item == 0:
            raise TransientError("gone")

    requests.begin(do, [0])
    with pytest.raises(TransientError, match="gone"):
        requests.begin(do, range(1, 100))
    assert len(done) < 10
    requests.wait()  # said once


@pytest.mark.parametrize(
    ("errors", "first"),
    [
        ((PermanentError("p"), TransientError("t")), TransientError),
        ((TransientError("t"), AuthError("a")), AuthError),
        ((PermanentError("p"), ZeroDivisionError()), ZeroDivisionError),
    ],
)
def test_of_several_failures_the_one_to_be_heeded_first_is_raised(
    requests: Requests, errors: tuple[Exception, ...], first: type[Exception]
) -> None:
    """A refused item says nothing as long as the server is down: delivery would give the item up."""
    both = threading.Barrier(2)

    def fail(error: Exception) -> None:
        both.wait(PATIENCE)
        raise error

    with pytest.raises(first):
        requests.each(fail, errors)


def test_closing_forgets_what_failed() -> None:
    requests = Requests(2, parallel=True)

    def fail(_: object) -> None:
        raise TransientError("gone")

    requests.begin(fail, [1])
    requests.close()
    requests.wait()


def test_without_a_server_the_caller_does_it_by_himself() -> None:
    threads: set[int] = set()
    requests = Requests(2, parallel=False)
    requests.each(lambda _: threads.add(threading.get_ident()), range(5))
    requests.begin(lambda _: threads.add(threading.get_ident()), range(5))
    assert threads == {threading.get_ident()}
