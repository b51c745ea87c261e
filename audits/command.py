"""`sidelight audit`, `judge`, `record`, `attack` and `list`: what is typed, turned into a job."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..system.assignments import assignments, defended
from ..system.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from .gates.checking import Found

BackboneOption = Annotated[str, typer.Option(help="Packaged name, local folder or Hugging Face id.")]
DataOption = Annotated[str, typer.Option(help="`messages`, FILE.jsonl, FILE.csv or a `datasets` id.")]
SeedOption = Annotated[
    str | None,
    typer.Option(help="Repeats a draw, given the same data, suite and backbone; secret, drawn afresh where absent."),
]
BudgetOption = Annotated[
    Path | None,
    typer.Option(help="FILE.toml with limits on what leaks; exit status 3 where one is broken. See docs/gates.md."),
]
OVER_BUDGET = 3


def audit(
    suite: Annotated[str, typer.Argument(help="a name of `sidelight list suites`, or one's own FILE.toml.")] = "quick",
    backbone: BackboneOption = "sidelight-tiny",
    data: DataOption = "messages",
    out: Annotated[Path, typer.Option(help="Folder of the results; the same again resumes.")] = Path("results"),
    seeds: Annotated[int | None, typer.Option(min=1, help="Victims drawn; the suite says where absent.")] = None,
    seed: SeedOption = None,
    executor: Annotated[
        str, typer.Option(help="local: one run at a time; processes: one a core; ray: one a core of a Ray cluster.")
    ] = "processes",
    budget: BudgetOption = None,
) -> None:
    """Record every protocol of a suite, attack what crossed, and report what the server learnt."""
    _refuse_foreign(out)
    from .executors import executor_of

    with executor_of(executor) as chosen:
        from ..system.progress import on_terminal
        from .audit import run_audit
        from .gates.gate import gate_on_suite
        from .planning.naming import Request
        from .suites.suite_file import load_suite

        planned = load_suite(suite)
        if seeds is not None:
            planned = planned.model_copy(update={"victims": seeds})
        gate = None if budget is None else gate_on_suite(budget, planned)  # a wrong file must not cost an audit
        ended = run_audit(Request(planned, backbone, data, out, seed), chosen, on_terminal(), gate)
    _end(out, *ended)


def judge(
    folder: Annotated[Path, typer.Argument(help="The folder that `sidelight audit` wrote.")],
    budget: BudgetOption = None,
) -> None:
    """State every number again from the stored cells, and report: for when the rules of evidence have changed."""
    if not (folder / "plan.json").is_file():
        raise UsageError(f"{folder} is no audit (it holds no plan.json); give the folder that `sidelight audit` wrote")
    if not (folder / "audit.json").is_file():
        raise UsageError(
            f"the audit in {folder} is not finished; run `sidelight audit` with --out {folder} again first"
        )
    from .compiling.results import compile_results, state_again
    from .gates.gate import gate_on_audit
    from .planning.home import forget_budget, held

    gate = None if budget is None else gate_on_audit(budget, folder)
    with held(folder):
        if forget_budget(folder) and budget is None:
            typer.echo(
                "sidelight: the outcome of an earlier budget was removed; give --budget to hold it again", err=True
            )
        state_again(folder)
        whole = compile_results(folder)
        found = None if gate is None else gate(folder)
    _end(folder, whole, found)


def record(
    protocol: Annotated[str, typer.Argument(help="A protocol's name; see `sidelight list protocols`.")],
    out: Annotated[Path, typer.Option(help="Folder that must not exist yet: view/, public/ and truth/ go there.")],
    backbone: BackboneOption = "sidelight-tiny",
    data: DataOption = "messages",
    seed: SeedOption = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A setting, NAME=VALUE; may be repeated.")] = None,
    defence: Annotated[
        list[str] | None,
        typer.Option(help="NAME or NAME:SETTING=VALUE,SETTING=VALUE; may be repeated."),
    ] = None,
) -> None:
    """Run one protocol and write what the server saw, what anybody knows and, apart, the truth."""
    from .single import record_one

    record_one(protocol, assignments(set_ or []), out, backbone, data, seed, defended(defence or []))
    typer.echo(f"{out / 'view'}")


def attack(
    view: Annotated[Path, typer.Argument(help="A recorded view.")],
    public: Annotated[Path, typer.Option(help="The public folder that belongs to it.")],
    attack: Annotated[str | None, typer.Option(help="One attack; all that apply where absent.")] = None,
    truth: Annotated[Path | None, typer.Option(help="The folder of the truth, to score guesses by.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the guesses (`guesses`), or with a truth of the results (`results`).")
    ] = None,
) -> None:
    """Attack a recorded view, one's own or somebody else's: guesses alone, or with a truth a report like an audit's."""
    if truth is not None:
        _score(view, public, truth, out or Path("results"), attack)
        return
    from .single import attack_one

    out = out or Path("guesses")
    whole = True
    for line, finished in attack_one(view, public, attack, out):
        typer.echo(line)
        whole = whole and finished
    if not whole:
        raise typer.Exit(1)


def list_names(
    what: Annotated[str, typer.Argument(help="protocols, attacks, defences, metrics, backbones, data or suites.")],
) -> None:
    """The names that the other commands take."""
    from .names import TABLES

    if what not in TABLES:
        raise UnknownName("list", what, TABLES)
    for name, about in TABLES[what]():
        typer.echo(f"{name:<16} {about}" if about else name)


def _score(view: Path, public: Path, truth: Path, out: Path, attack: str | None) -> None:
    _refuse_foreign(out)
    from ..attacks import ATTACKS
    from ..system.progress import on_terminal
    from .given.judging import judge_given
    from .given.reading import Folders

    broken = {} if attack else ATTACKS.broken()
    for why in broken.values():
        typer.echo(f"sidelight: {why}", err=True)
    names = [attack] if attack else sorted(ATTACKS.keys() - broken.keys())
    whole = judge_given(Folders(view, public, truth), out, names, on_terminal())
    _report(out)
    if broken or not whole:
        raise typer.Exit(1)


def _refuse_foreign(out: Path) -> None:
    """An audit clears away what a killed one left, so its folder must be its own."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; give a folder of an audit or one that does not exist")
    if out.is_dir() and not (out / "truth").is_dir() and any(path.name != "lock" for path in out.iterdir()):
        raise UsageError(f"{out} holds files that are no audit's; give a folder of an audit or one that does not exist")


def _end(out: Path, whole: bool, found: Found | None) -> None:
    """Report, say what a budget came to, and leave with 3 where it is broken, else with 1 where a cell failed."""
    _report(out)
    if found is not None:
        from .gates.wording import told

        for line in told(found):
            typer.echo(line, err=True)
    if found is not None and not found.kept:
        if not whole:
            typer.echo("sidelight: besides, a cell failed or a promise of privacy is broken; see the report", err=True)
        raise typer.Exit(OVER_BUDGET)
    if not whole:
        raise typer.Exit(1)


def _report(out: Path) -> None:
    """End with the report, found by its entry point: no room imports upward."""
    from importlib.metadata import entry_points

    for point in entry_points(group="sidelight.commands", name="report"):
        point.load()(out)
