"""benchmarks/RESULTS.md: machine, every claim, every bar and every gap, out of what the benchmarks left."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.bars import BARS, PARTS, Bar
from benchmarks.measure import table, verdict
from benchmarks.runs import Run

LONGEST = 160  # characters of a cell
SHOWN = 3  # figures of a bar that many claims judge; of more the ends are told
CLAIM = ("what", "ours", "peer", "floor", "ratio", "bar")
Claim = Mapping[str, Any]  # as benchmarks/measure.py writes it

START = """# Results

`make bench` measures all of this and writes this page. It takes about {hours:.0f} hours on two cores, and goes on where
it was when it is started again; `python benchmarks/bench.py --only data` measures one part, `--page` writes the page
alone. Sides take turns, so that both see the same machine; figures are medians, with quartiles in brackets. What each
script does: [README.md](README.md). Whole tables: the pages that the headings lead to."""

BARS_SAY = """{total} bars: {met} met, {missed} missed, {rest} not measured here. *Recorded*: seen in a run that takes
too long for `make bench`, with the page that keeps it or the command that gives it again. *By tests*: held by the tests
that are named, which run with all others."""


class Result(NamedTuple):
    """What a run left, and how it ended."""

    run: Run
    record: Mapping[str, Any]  # title, machine, claims; {} when it left none
    ended: Mapping[str, Any]  # minutes, and why it failed; {} when `bench.py` did not run it

    @property
    def claims(self) -> Sequence[Claim]:
        """Its claims, also those without a figure."""
        return self.record.get("claims", ())

    @property
    def measured_at(self) -> tuple[str, str]:
        """Machine and commit."""
        machine, _, commit = self.record["machine"].rpartition(" Commit ")
        return machine, commit.rstrip(".")


def page(
    runs: Sequence[Run],
    folder: Path,
    ended: Mapping[str, Any],
    missing: Mapping[str, str],
    bars: Sequence[Bar] = BARS,
) -> str:
    """The whole page: of runs that have left files in `folder`, and of `missing` peers, with the reason."""
    results = [*gathered(runs, folder, ended)]
    with_figures_last = sorted(
        (claim for result in results for claim in result.claims), key=lambda one: bool(one["ours"])
    )
    claims = {claim["key"]: claim for claim in with_figures_last}  # what was measured on either machine
    parts = [START.format(hours=sum(run.minutes for run in runs) / 60), machines(results)]
    for section in dict.fromkeys(run.section for run in runs):
        parts += [f"## {section}", *figures([one for one in results if one.run.section == section], folder)]
    parts += ["## Every bar of every issue", *judged(bars, claims)]
    parts += ["## Gaps", "What could not be measured, and why.", gaps(results, claims, missing)]
    return "\n\n".join(parts) + "\n"


def gathered(runs: Sequence[Run], folder: Path, ended: Mapping[str, Any]) -> Iterator[Result]:
    """What there is of each run: of this machine, and of one with a GPU where someone has put `<name>_gpu.json`."""
    for run in runs:
        yield Result(run, read(folder / f"{run.name}.json"), ended.get(run.name, {}))
        if on_gpu := read(folder / f"{run.name}_gpu.json"):
            yield Result(run._replace(name=f"{run.name}_gpu"), on_gpu, {})


def read(path: Path) -> dict[str, Any]:
    """A JSON file that a run left; {} when there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def machines(results: Sequence[Result]) -> str:
    """Where, with what and in which time each result was measured."""
    places: dict[tuple[str, str], list[str]] = {}
    for result in results:
        if result.record:
            minutes = result.ended.get("minutes")
            told = result.run.name if minutes is None else f"{result.run.name} ({minutes:.1f} min)"
            places.setdefault(result.measured_at, []).append(told)
    rows = [[*(escape(text) for text in place), ", ".join(names)] for place, names in places.items()]
    return f"## Machine\n\n{table(['machine and versions', 'commit', 'results'], rows)}"


def figures(results: Sequence[Result], folder: Path) -> Iterator[str]:
    """The claims of each run as a table, and its pictures."""
    for result in results:
        name, measured = result.run.name, [claim for claim in result.claims if claim["ours"]]
        if measured:
            link = f"[{name}.md]({folder.name}/{name}.md), commit {result.measured_at[1]}"
            header = ["what", "ours", "peer", "bare loop or floor", "ratio", "bar", ""]
            rows = [[*(short(claim[cell]) for cell in CLAIM), last_cell(claim)] for claim in measured]
            yield f"### {result.record['title']}\n\n{link}\n\n{table(header, rows)}"
        yield from (f"![{path.stem}]({folder.name}/{path.name})" for path in sorted(folder.glob(f"{name}_*.png")))


def last_cell(claim: Claim) -> str:
    """Met or not, and why not."""
    why = "" if claim["met"] else claim["why"]
    return short(": ".join(text for text in (verdict(claim["met"]), why) if text))


def judged(bars: Sequence[Bar], claims: Mapping[str, Claim]) -> Iterator[str]:
    """How many bars are met, and a table of them for each part of the project."""
    rows = [(bar.issue, [short(bar.what), short(bar.bar), *judge(bar, claims)]) for bar in bars]
    met, missed = (sum(cells[3].startswith(word) for _, cells in rows) for word in ("met", "**missed"))
    yield BARS_SAY.format(total=len(rows), met=met, missed=missed, rest=len(rows) - met - missed)
    header = ["what", "bar", "figure", "", "why, and what would close it; where it is kept"]
    for issue, title in PARTS.items():
        of_issue = [cells for number, cells in rows if number == issue]
        if of_issue:
            yield f"### {issue}. {title}\n\n{table(header, of_issue)}"


def judge(bar: Bar, claims: Mapping[str, Claim]) -> list[str]:
    """Figure, verdict and remarks of a bar: by claims with a figure, else by what was recorded, else by tests."""
    found = [claim for key, claim in claims.items() if any(fnmatch(key, pattern) for pattern in bar.claims)]
    measured = [claim for claim in found if claim["ours"]]
    if measured:
        figure, told, why = by_claims(bar, measured)
        gone = len(found) - len(measured)
        told += f", {gone} not measured" if gone else ""
    elif bar.seen:
        figure, told, why = bar.seen, f"{verdict(bar.met)}, recorded", bar.why
    elif bar.tests and not bar.claims:
        figure, told, why = "", "met, by tests", bar.why
    else:
        whys = "; ".join(dict.fromkeys(claim["why"] for claim in found))
        figure, told, why = "", "not measured", whys or f"no result of {', '.join(bar.claims)}"
    return [short(figure), told, remarks(bar, why)]


def by_claims(bar: Bar, measured: Sequence[Claim]) -> tuple[str, str, str]:
    """Figure, verdict and why by claims, of which all that can be judged must be met."""
    judged_here = [claim for claim in measured if claim["met"] is not None]
    missed = [claim for claim in judged_here if not claim["met"]]
    figure = ends([claim["ratio"] or claim["ours"] for claim in missed or judged_here or measured])
    if missed and len(judged_here) > 1:
        figure = f"{len(missed)} of {len(judged_here)}: {figure}"
    told = verdict(not missed) if judged_here else "measured, not judged here"
    whys = ["; ".join(dict.fromkeys(filter(None, (claim["why"] for claim in missed)))), bar.why]
    return figure, told, ". ".join(filter(None, whys)) if missed or not judged_here else ""


def ends(texts: Sequence[str]) -> str:
    """A few figures, or the least and the greatest of many."""
    texts = sorted(texts, key=first_number)
    return "; ".join(texts) if len(texts) <= SHOWN else f"{texts[0]} to {texts[-1]}"


def first_number(text: str) -> float:
    """The first number in a text."""
    found = re.search(r"-?\d[\d,]*(\.\d+)?(e-?\d+)?", text)
    return float(found[0].replace(",", "")) if found else 0.0


def remarks(bar: Bar, why: str) -> str:
    """Why, where the figure is kept, which tests hold it, and the command that gives it. Never cut."""
    links = ", ".join(f"[{path}](../{path})" for path in dict.fromkeys((bar.where, *bar.tests)) if path)
    command = f"`{bar.command}`" if bar.command else ""
    return escape(" ".join(text for text in (why, links, command) if text))


def gaps(results: Sequence[Result], claims: Mapping[str, Claim], missing: Mapping[str, str]) -> str:
    """Peers that are not installed, runs that failed or were not made, claims without a figure."""
    rows = [[f"{name}, a peer", why] for name, why in missing.items()]
    for result in results:
        failed = result.ended.get("failed", "")
        if failed or not result.record:
            earlier = " (the figures above are of an earlier run)" if result.record else ""
            rows.append([f"`benchmarks/{result.run.command}`", (failed or "not run yet") + earlier])
        rows += [[claim["what"], claim["why"]] for claim in result.claims if not claims[claim["key"]]["ours"]]
    return table(["what", "why"], [[short(cell) for cell in row] for row in rows]) if rows else "None."


def short(text: str) -> str:
    """A text that fits a cell."""
    return escape(text if len(text) <= LONGEST else f"{text[: LONGEST - 1].rstrip()}…")


def escape(text: str) -> str:
    """A text in one line that ends no cell."""
    return " ".join(text.split()).replace("|", "\\|")
