"""Makes what is written about models and results out of their docstrings and measured figures.

    python docs/make.py            writes it
    python docs/make.py --check    says what is not as it would be written; code 1

Made are the pages of docs/models, docs/inside/layers.svg, and in README.md, mkdocs.yml and some
pages the part between `made: NAME` and `made: end`. It reads results/models/*.yaml (what was
measured, a file a model), results/claims.json (what tests recorded), results/examples/*.json (what
results/measure.py measured), results/tables/*.yaml, examples/ and the code. It imports no torch.
"""

import argparse
import ast
import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from genzoo import catalogue  # noqa: E402

DOCS = ROOT / "docs"
FAMILIES = {  # in the order of the tables
    "autoregressive": "Exact densities: autoregressive",
    "variational": "Autoencoders, and densities by a bound",
    "diffusion": "Diffusion and flow matching",
    "markov": "Markov chains",
    "supervised": "Supervised, and Bayes' rule",
    "gan": "Adversarial",
    "conditional": "Adversarial: the generator has a condition, or codes that are learned",
    "inference": "Adversarial: an encoder learns beside the generator",
}
SHORT = {
    "autoregressive": "exact",
    "variational": "bounds",
    "diffusion": "diffusion",
    "markov": "chains",
    "supervised": "supervised",
    "gan": "games",
    "conditional": "conditional",
    "inference": "encoders",
}
MADE = "<!-- Made by docs/make.py; what is changed here is lost. -->"


class Model:
    """One file of the zoo: what it says of itself, and what was measured.

    Args:
        path: Its results, results/models/<name>.yaml.
    """

    def __init__(self, path: Path):
        self.results: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
        self.name: str = self.results["name"]
        self.path = ROOT / self.results["file"]
        self.stem = path.stem
        family = self.path.parent.name
        self.family = family if family in FAMILIES else "supervised"
        self.tree = ast.parse(self.path.read_text(encoding="utf-8"))
        self.title, _, body = (ast.get_docstring(self.tree) or "").partition("\n\n")
        self.paper, self.not_held, self.differs = parts_of(body)
        self.claims: dict[str, Any] = claims().get(self.stem, {})
        kept = ROOT / "results" / "examples" / f"{self.stem}.json"
        self.example = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else None

    @property
    def page(self) -> str:
        """Its page, from docs/."""
        return f"models/{self.family}/{self.stem}.md"

    @property
    def cited(self) -> str:
        return f"{self.results['paper']}, {self.results['year']}"

    @property
    def classes(self) -> list[catalogue.Entry]:
        listed = [entry for entry in entries() if entry.path == self.path]
        return listed or [
            catalogue._entry(self.path, node, self.family)
            for node in self.tree.body
            if isinstance(node, ast.ClassDef) and node.name == "BayesClassifier"
        ]


@cache
def claims() -> dict[str, Any]:
    """What tests recorded, by model (tests/claims.py)."""
    return json.loads((ROOT / "results" / "claims.json").read_text(encoding="utf-8"))


@cache
def entries() -> list[catalogue.Entry]:
    return catalogue.models()


@cache
def models() -> list[Model]:
    """By family, in the order of their papers."""
    found = [Model(path) for path in sorted((ROOT / "results" / "models").glob("*.yaml"))]
    order = list(FAMILIES)
    return sorted(found, key=lambda m: (order.index(m.family), m.results["year"], m.name.lower()))


def parts_of(body: str) -> tuple[str, str, str]:
    """A docstring behind its title: the paper, what did not hold, what differs from the paper."""
    paper, not_held, differs = [], [], []
    here = paper
    for paragraph in body.split("\n\n"):
        if re.match(r"What did not hold:|On eight Gaussians this L_G did not hold", paragraph):
            here = not_held
        elif re.match(r"Differs from the papers?[:,]", paragraph):
            here = differs
        elif not paragraph.startswith(" "):
            here = paper
        here.append(paragraph)
    joined = ("\n\n".join(part) for part in (paper, not_held, differs))
    first, second, third = joined
    second = second.removeprefix("What did not hold: ")
    third = re.sub(r"^Differs from the papers?: ", "", third)
    return first, upper(second), upper(third)


def upper(text: str) -> str:
    return text[:1].upper() + text[1:]


def prose(text: str) -> str:
    """A docstring's text as Markdown: addresses are links, what is indented stays code."""
    lines = []
    for line in text.split("\n"):
        if not line.startswith("    "):
            line = re.sub(r"(?<!\]\()(?<!<)https?://[^\s)>]*[^\s)>.,;:]", r"<\g<0>>", line)
            line = re.sub(r"\b([a-z])~", r"\1\~", line)
            line = re.sub(r"(?<=[\w)\]])\*(?=[ ,.;])", r"\\*", line)
        lines.append(line)
    return "\n".join(lines)


# --- the arguments of a class ---


def arguments(entry: catalogue.Entry) -> Iterator[str]:
    for argument in entry.arguments:
        meaning = entry.meaning(argument)
        yield f"- `{argument}`" + (f"<br>{prose(meaning)}" if meaning else "")


# --- pages ---


def up(page: str) -> str:
    """From a page to docs/."""
    return "../" * page.count("/")


def model_page(model: Model) -> str:
    results = model.results
    example = results["example"]
    links = ", ".join(f"[{label}]({link})" for label, link in results["links"].items())
    kinds = ", ".join(f"`{entry.name}`" for entry in model.classes)
    out = [MADE, f"# {model.name}", f"{model.title.partition(': ')[2] or model.title}".strip()]
    out.append(
        f"**Paper** {model.cited}: {links}<br>\n**Class** {kinds}, in `{results['file']}`<br>\n"
        f"**Family** {FAMILIES[model.family]}"
    )
    picture = f"pictures/{model.stem}.png" if model.example else results.get("picture")
    if picture:
        out.append(
            f"![Drawn by {model.name}]({up(model.page)}{picture})\n\n"
            "*Drawn by the example below; not chosen by hand.*"
        )
    out += ["## What it is", prose(strip_authors(model.paper))]
    out += ["## Train it", f"    {example['command']}"]
    found, time = outcome(model)
    where = f" ({example['data']})" if "data" in example else ""
    time = f", after {time} on one core" if time else ""
    out.append(f"Measured{where}: {found}{time}. [What these numbers are](../../evaluate/real.md).")
    config = ROOT / "examples" / model.family / f"{model.stem}.yaml"
    if config.is_file():
        shown = config.read_text(encoding="utf-8").rstrip()
        out.append(f'```yaml title="{config.relative_to(ROOT)}"\n{shown}\n```')
    large = ROOT / "examples" / "64" / f"{model.stem}.yaml"
    if large.is_file():
        shown = large.read_text(encoding="utf-8").rstrip()
        out += ["### At 64 pixels in colour", "On a folder of images, with the authors' settings:"]
        out.append(f'```yaml title="{large.relative_to(ROOT)}"\n{shown}\n```')
    if model.example:
        out += ["## Its report card", *card(model.example)]
    out += ["## The claim, and what was measured", sentence(results["claim"])]
    if model.claims:
        out.append("\n".join(recorded(model.claims)))
    if results["measured"]:
        if model.claims:
            out.append("By hand, of runs that take long or of an earlier day:")
        out.append("\n".join(measured(results)))
    file = Path(results["file"])
    setting = f"Setting: {results['setting']}. " if results["setting"] else ""
    out.append(
        f"{setting}Seeds 0, 1, 2; under *all seeds* one value that is alike on all, or a range. "
        f"Asserted against a baseline that should fail by `pytest -m claim "
        f"tests/{file.parent}/test_{file.name}`."
    )
    held = [prose(model.not_held)] if model.not_held else []
    held += [f"- {line}" for line in results["did_not_hold"]]
    if held:
        out += ["## What did not hold", "\n\n".join(held)]
    if model.differs:
        out += ["## What differs from the paper", prose(model.differs)]
    out.append("## Arguments")
    for entry in model.classes:
        out += [f"### {entry.name}", "\n".join(arguments(entry))]
    out += ["## The file", f"<!-- source: {results['file']} -->"]
    return "\n\n".join(out) + "\n"


def outcome(model: Model) -> tuple[str, str]:
    """What the example gives, and its time: measured by results/measure.py, or by hand."""
    if not model.example:
        return model.results["example"]["result"], model.results["example"].get("time", "")
    numbers = model.example["sections"]["realism"]["numbers"]
    shown = [f"`{name}` {numbers[name]['value']}" for name in numbers if re.match("f(id|d/)", name)]
    seconds = model.example["cpu_seconds"]
    return ", ".join(shown), f"{seconds} CPU-seconds with the report card"


def card(example: dict[str, Any]) -> Iterator[str]:
    """The report card that results/measure.py kept."""
    signs = {"good": "✅", "bad": "❌", "unsure": "❔"}
    sections = example["sections"].values()
    rows = [f"| {signs[s['flag']]} **{s['question']}** | {s['verdict']} |" for s in sections]
    yield "| Question | Answer |\n|---|---|\n" + "\n".join(rows)
    numbers = [
        f"| `{name}` | {number['value']} | {number['interval']} |"
        for section in sections
        for name, number in section["numbers"].items()
    ]
    yield "| Number | Value | 95 % interval |\n|---|---|---|\n" + "\n".join(numbers)
    versions = ", ".join(f"{name} {number}" for name, number in example["versions"].items())
    protocol = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in example["protocol"].items())
    yield (
        f"By `python results/measure.py {example['example']}` at commit `{example['commit']}`, "
        f"{versions}; {protocol}. [How to read a card](../../evaluate/card.md)."
    )


def strip_authors(paper: str) -> str:
    """Without its first paragraph where that is the authors and the address of the paper."""
    first, _, rest = paper.partition("\n\n")
    return rest if re.search(r"\d{4}[.)]", first) and "http" in first else paper


def sentence(text: str) -> str:
    return upper(text.strip().rstrip(".")) + "."


def measured(results: dict[str, Any]) -> Iterator[str]:
    """A table with a column for each seed, and one for what is alike on all, as far as needed."""
    rows = [(what, *values) for what, *values in results["measured"]]
    seeds = results["seeds"] if any(len(row) > 2 for row in rows) else []
    together = ["all seeds"] if any(len(row) == 2 for row in rows) else []
    heads = ["", *(f"seed {seed}" for seed in seeds), *together]
    yield "| " + " | ".join(heads) + " |"
    yield "|---" * len(heads) + "|"
    for what, *values in rows:
        apart = [""] * len(seeds) + values if len(values) == 1 else values + [""] * len(together)
        yield f"| {what} | " + " | ".join(apart) + " |"


def recorded(claims: dict[str, Any]) -> Iterator[str]:
    """A table of what the tests of a model recorded: values by seed, and what was asked of them."""
    rows = [(what, row) for kept in claims.values() for what, row in kept["numbers"].items()]
    seeds = sorted({seed for _, row in rows for seed in row["value"]})
    names = [{"all": "one run", "median": "median"}.get(seed, f"seed {seed}") for seed in seeds]
    yield "| " + " | ".join(["", *names, "asserted"]) + " |"
    yield "|---" * (len(seeds) + 2) + "|"
    for what, row in rows:
        values = [shown(row["value"][seed]) if seed in row["value"] else "" for seed in seeds]
        yield "| " + " | ".join([what, *values, asserted(row)]) + " |"


def asserted(row: dict[str, dict[str, float]]) -> str:
    """In words; a bound that differs from seed to seed, as a baseline does, for each."""
    words = []
    for of, of_median in (("", False), ("median ", True)):
        bounds = {
            word: [bound for seed, bound in row[word].items() if (seed == "median") == of_median]
            for word in ("above", "below", "near", "within")
            if word in row
        }
        for word in ("above", "below"):
            if bounds.get(word):
                words.append(f"{of}{word} {', '.join(dict.fromkeys(map(shown, bounds[word])))}")
        if bounds.get("near"):
            words.append(f"{of}{shown(bounds['near'][0])} ± {shown(bounds['within'][0])}")
    return "; ".join(words)


def shown(value: float) -> str:
    """Three significant digits, and whole numbers as they are."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def readme_table(every: list[Model]) -> str:
    lines = ["| | Model | Paper | Model | Paper |", "|---|---|---|---|---|"]
    for family, short in SHORT.items():
        cells = [
            (f"[{model.name}](docs/{model.page})", model.cited)
            for model in every
            if model.family == family
        ]
        for start in range(0, len(cells), 2):
            pair = [*cells[start : start + 2], ("", "")][:2]
            row = [f"**{short}**" if start == 0 else "", *pair[0], *pair[1]]
            lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def index(every: list[Model]) -> str:
    out = [MADE, "# Models"]
    out.append(
        "One paper is one file, and its page says what was measured here: the claim of the paper "
        "that a test asserts, by seed, against a baseline that should fail, and what did not hold."
        "\n\n    genzoo models          lists them\n    genzoo models WGANGP   all about one"
    )
    for family, title in FAMILIES.items():
        rows = [
            f"| [{model.name}]({model.page.removeprefix('models/')}) | {model.cited} "
            f"| `{', '.join(entry.name for entry in model.classes)}` |"
            for model in every
            if model.family == family
        ]
        out += [f"## {title}", "| Model | Paper | Class |\n|---|---|---|\n" + "\n".join(rows)]
    return "\n\n".join(out) + "\n"


def results_table(every: list[Model]) -> str:
    out = []
    for family, title in FAMILIES.items():
        rows = []
        for model in every:
            if model.family == family:
                example = model.results["example"]
                data = f" ({example['data']})" if "data" in example else ""
                found, time = outcome(model)
                rows.append(
                    f"| [{model.name}](../{model.page}) | {sentence(model.results['claim'])} "
                    f"| {upper(found)}{data} | {time or 'not measured'} |"
                )
        head = "| Model | Claim that is tested | Its example | Time |\n|---|---|---|---|\n"
        out += [f"## {title}", head + "\n".join(rows)]
    return "\n\n".join(out)


def navigation(every: list[Model]) -> str:
    lines = []
    for family, title in FAMILIES.items():
        lines.append(f'      - "{title.replace("Adversarial: the", "Games: the")}":')
        lines += [f'          - "{m.name}": {m.page}' for m in every if m.family == family]
    return "\n".join(lines)


def table(name: str) -> str:
    """results/tables/<name>.yaml: `columns` and `rows`."""
    found = yaml.safe_load((ROOT / "results" / "tables" / f"{name}.yaml").read_text("utf-8"))
    lines = [found["columns"], ["---"] * len(found["columns"]), *found["rows"]]
    assert len({len(line) for line in lines}) == 1, f"rows of {name} must have its columns"
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# --- the drawing of the layers ---


def layers() -> list[tuple[str, ...]]:
    """LAYERS of tests/test_imports.py, from the ground up."""
    tree = ast.parse((ROOT / "tests" / "test_imports.py").read_text(encoding="utf-8"))
    values = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    families = ast.literal_eval(values["FAMILIES"])
    found = []
    for line in values["LAYERS"].elts:
        names: list[str] = []
        for element in line.elts:
            if isinstance(element, ast.Starred):
                names += [f"zoo.{family}" for family in families]
            else:
                names.append(ast.literal_eval(element))
        found.append(tuple(names))
    return found


def drawing() -> str:
    """The layers as boxes, the ground at the bottom; a file imports from boxes below its own."""
    width, left, row, size = 720, 16, 22, 14
    boxes, y = [], 16
    for names in reversed(layers()):
        shown = [
            {"": "genzoo", "zoo": "zoo (the door)"}.get(n, n) for n in names if n != "__path__"
        ]
        lines, line = [], ""
        for name in shown:
            if len(line) + len(name) > 78:
                lines.append(line)
                line = ""
            line = f"{line}   {name}" if line else name
        lines.append(line)
        height = 14 + row * len(lines)
        boxes.append(
            f'<rect x="{left}" y="{y}" width="{width - 2 * left}" height="{height}" rx="6" '
            'fill="#eef3fb" stroke="#5b7db1"/>'
        )
        boxes += [
            f'<text x="{left + 12}" y="{y + 22 + row * i}" font-family="monospace" '
            f'font-size="{size}" fill="#1d2b45" xml:space="preserve">{line}</text>'
            for i, line in enumerate(lines)
        ]
        y += height + 8
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 8}" role="img" '
        'aria-label="The layers of genzoo">'
    )
    ground = f'<rect width="{width}" height="{y + 8}" fill="#ffffff"/>'
    return "\n".join([head, ground, *boxes, "</svg>"]) + "\n"


# --- all of it ---


def fill(text: str, name: str, made: str) -> str:
    """Puts `made` between the marks of that name, which are comments of Markdown or YAML."""
    mark = re.compile(
        rf"(^[ ]*(?:<!--|#) made: {name}\b[^\n]*\n).*?(^[ ]*(?:<!--|#) made: end)", re.S | re.M
    )
    if len(mark.findall(text)) != 1:
        raise ValueError(f"a page must have one part `made: {name}`, got {len(mark.findall(text))}")
    gap = "" if name == "navigation" else "\n"
    return mark.sub(lambda found: f"{found[1]}{gap}{made}\n{gap}{found[2]}", text)


def everything() -> dict[Path, str]:
    """All that is made: path to text."""
    every = models()
    made = {DOCS / model.page: model_page(model) for model in every}
    made[DOCS / "models" / "index.md"] = index(every)
    made[DOCS / "inside" / "layers.svg"] = drawing()
    parts = {
        ROOT / "README.md": {"models": readme_table(every)},
        ROOT / "mkdocs.yml": {"navigation": navigation(every)},
        DOCS / "results" / "models.md": {"results": results_table(every)},
    }
    for path in sorted((ROOT / "results" / "tables").glob("*.yaml")):
        for page in sorted(DOCS.rglob("*.md")):
            if f"made: {path.stem} " in page.read_text(encoding="utf-8"):
                parts.setdefault(page, {})[path.stem] = table(path.stem)
    for path, named in parts.items():
        text = path.read_text(encoding="utf-8")
        for name, part in named.items():
            text = fill(text, name, part)
        made[path] = text
    return made


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    stale = 0
    for path, text in everything().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        print(path.relative_to(ROOT))
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    return int(check and stale > 0)


if __name__ == "__main__":
    raise SystemExit(main())
