"""Jobs side by side in threads, drawn from an iterable only a few ahead: flat memory for however many there are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

AHEAD = 8
"""Jobs that are drawn and not yet yielded, for each thread: short ones go on while the caller judges those that ended.

Of those that ended, what the caller has not seen is lost where the caller is killed."""


class Finished(NamedTuple, Generic[T]):
    """A job's outcome, with its place among the jobs."""

    at: int
    outcome: T


def side_by_side(jobs: Iterable[Callable[[], T]], parallel: int, stop: Callable[[], None]) -> Iterator[Finished[T]]:
    """Yield each job's result as it comes, with the job's place; of one that was yielded, nothing is kept.

    Jobs are drawn in the caller's thread. Where the caller leaves early, or a job raises, `stop` is called: it must
    make the jobs that run end soon.
    """
    with ThreadPoolExecutor(parallel, thread_name_prefix="sidelight-worker") as threads:
        places: dict[Future[T], int] = {}
        drawn = enumerate(jobs)
        try:
            while True:
                for at, job in islice(drawn, AHEAD * parallel - len(places)):
                    places[threads.submit(job)] = at
                if not places:
                    return
                done = wait(places, return_when=FIRST_COMPLETED).done
                while done:
                    yield _taken(places, done.pop())
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            stop()
            raise


def _taken(places: dict[Future[T], int], future: Future[T]) -> Finished[T]:
    return Finished(places.pop(future), future.result())
