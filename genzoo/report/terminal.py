"""The report card in the terminal."""

from rich import box, get_console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from .card import SIGNS, Report, spoken

# Entries of the protocol that are printed; the others are in the full report.
FIRST = ("extractor", "weights", "split", "n_train", "n_held_out", "n_generated", "sample_seed")


def show(report: Report, rest: str = "") -> None:
    """Prints verdicts and headlines.

    Args:
        rest: Path or link of the full report, which is printed last.
    """
    console = get_console()
    answers = Table(box=None, show_header=False, padding=(0, 2, 1, 0), expand=True)
    answers.add_column(no_wrap=True)
    answers.add_column(ratio=1)
    for question, flag, verdict in report.answers():
        _, colour = SIGNS[flag] if flag else ("–", "dim")
        word = f"[{colour}]{flag or 'not evaluated'}[/]"
        answers.add_row(word, f"[bold]{escape(question)}[/]\n{escape(verdict)}")
    console.print(Panel(answers, title=f"[bold]{escape(report.title)}[/]", padding=(1, 2, 0, 2)))
    numbers = Table(box=box.SIMPLE_HEAD)
    numbers.add_column("number")
    numbers.add_column("value", justify="right")
    numbers.add_column("95 % interval")
    for section in report.sections:
        for name, number in section.headlines.items():
            numbers.add_row(escape(name), number.shown, number.interval)
        numbers.add_section()
    if numbers.row_count:
        console.print(numbers)
    if first := {name: report.protocol[name] for name in FIRST if name in report.protocol}:
        console.print(f"[dim]measured with: {escape(spoken(first))}[/]", highlight=False)
    if rest:
        console.print(f"all numbers in {escape(rest)}", highlight=False, soft_wrap=True)
