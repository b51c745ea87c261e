"""What a long job says while it runs: a line for each finished step, and bars where somebody watches."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars


class Progress:
    """Tells each step in one line: never anything private."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def begin(self, what: str, total: int) -> None:
        """So many steps of a kind are ahead."""

    def advance(self, what: str) -> None:
        """One more is done."""

    def part(self, what: str, done: float, total: float) -> None:
        """How far a single long step is."""

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing to put away."""


class Watched(Progress):
    """Bars below the lines, on a terminal."""

    def __init__(self, console: Console) -> None:
        super().__init__(lambda line: console.print(line, markup=False, highlight=False))
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Bars(*columns, console=console, transient=True)
        self._known: dict[str, TaskID] = {}

    def begin(self, what: str, total: int) -> None:
        self._known[what] = self._bars.add_task(what, total=total)

    def advance(self, what: str) -> None:
        self._bars.advance(self._known[what])

    def part(self, what: str, done: float, total: float) -> None:
        if what not in self._known:
            self._known[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._known[what], completed=done, total=total, visible=done < total)

    def __enter__(self) -> Progress:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._bars.stop()


def on_terminal() -> Progress:
    """Bars where somebody watches, lines alone in a pipe or a log."""
    console = Console()
    return Watched(console) if console.is_terminal else Progress(lambda line: print(line, flush=True))
