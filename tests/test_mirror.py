"""The tests mirror the tree: who looks for the test of a module finds it by its name."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("genzoo", "datamodules", "zoo", "callbacks", "examples", "docs")
TESTED_ELSEWHERE = {  # module: where, or why not alone
    "callbacks/throughput": "test_resume, as it keeps a place in a training",
    "calls": "callbacks/test_compile, which is its only user",
    "cli/compare": "report/test_compare, on the cards that it compares",
    "cli/linked": "cli/test_fit, as what the data says of the model",
    "cli/parser": "cli/test_fit, with every line that is parsed",
    "cli/parts": "cli/test_fit, with every line that is parsed",
    "cli/remembered": "cli/test_fit, as what a checkpoint says",
    "features/evidence": "callbacks/test_evidence, which makes it",
    "features/likelihood": "callbacks/test_likelihood, as the words of its section",
    "features/panels": "callbacks/test_memorisation and test_realism, which show them",
    "features/probe": "callbacks/test_probe, as the words of its section",
    "features/spaces": "callbacks/test_memorisation, as the spaces of copies",
    "features/yardstick": "callbacks/test_realism, which it is made for",
    "files": "by all who write, where a disk is full",
    "metrics/inputs": "by all metrics, as what they refuse",
    "metrics/number": "report/test_card, as it is printed there",
    "modes": "by all that leave a model's mode as it was",
    "protocols": "test_contract, as the abilities of all models",
    "report/captions": "callbacks/test_pictures, which have them",
    "report/markdown": "report/test_card, as one page of a card",
    "report/topics": "report/test_card, as the order of a card",
    "runs/addresses": "runs/test_checkpoints, as what is read from an address",
    "runs/suggestions": "cli/test_errors and cli/test_fit, in what is said of misspelt names",
    "torch": "test_lightning, with the private names of Lightning",
    "zoo/autoregressive/conditionals": "zoo/autoregressive, by all of its models",
    "zoo/base": "test_contract, as the base of all models",
    "zoo/diffusion/denoising": "zoo/diffusion/test_walking, as the base of all of them",
    "zoo/diffusion/guidance": "zoo/diffusion/test_walking, with conditions",
    "zoo/diffusion/paths": "zoo/diffusion/test_samplers, as what they walk along",
    "zoo/inputs": "test_contract and test_batches, by what models refuse",
    "zoo/logistic": "zoo/autoregressive/test_pixelcnn_pp, whose mixture it is",
    "zoo/markov/bits": "zoo/markov, by all of its models",
    "zoo/pixelwise": "zoo/autoregressive/test_pixelcnn, as the sampling of all of them",
}
OF_ALL = {  # test module: of what
    "callbacks/verdicts/test_diversity_verdicts": "verdicts on generators of known diversity",
    "callbacks/verdicts/test_memorisation_verdicts": "verdicts on generators of known copies",
    "cli/test_diffusion": "options of genzoo sample for models that draw step by step",
    "gpu/test_rehearsal": "the command python -m tests.gpu",
    "test_claims": "the numbers that claims record",
    "test_conditions_by_command_line": "conditions, from the data to the picture",
    "test_contract": "all models",
    "test_devices": "all models on a GPU that is pretended",
    "test_docstrings": "the docstrings of all public classes",
    "test_doctests": "the examples in all docstrings",
    "test_imports": "the layers, and what belongs to every model",
    "test_inputs_of_players": "all games",
    "test_measure": "the command that measures an example",
    "test_mirror": "the tests themselves",
    "test_own_images": "a user's own folder, from training to samples",
    "test_package": "what is installed",
    "test_ranks": "all models on two processes",
    "test_refusals": "the command line, by sixty inputs that cannot be",
    "test_resume": "trainings that are killed",
    "test_stable": "the names that stay",
    "test_tutorials": "the notebooks",
    "test_types": "the types of all that is public",
    "zoo/networks/test_denoising_networks": "the networks of models that remove noise",
    "zoo/test_earlier_names": "names and weights of earlier versions",
}


def place(path: Path) -> tuple[str, ...]:
    """Where a module's test belongs: `genzoo` is the root, and private names lose their marks."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return tuple(part.strip("_") for part in (parts[1:] if parts[0] == "genzoo" else parts))


def home_of(*parts: str) -> Path:
    return ROOT.joinpath("tests", *parts[:-1], f"test_{parts[-1]}.py")


def own_test(parts: tuple[str, ...]) -> Path | None:
    """The test module of a module, or of a folder that it lies in."""
    homes = (home_of(*parts[:k]) for k in range(len(parts), 0, -1))
    return next((home for home in homes if home.is_file()), None)


MODULES = {
    "/".join(place(path)): place(path)
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if path.stem != "__init__"
}
TESTS = {
    path
    for path in (ROOT / "tests").rglob("test_*.py")
    if "benchmarks" not in path.parts  # of the speed of several things together
}


def test_a_module_has_its_test():
    without = {name for name, parts in MODULES.items() if own_test(parts) is None}
    assert without == set(TESTED_ELSEWHERE), "tests/<folder>/test_<module>.py, or a reason above"


def test_a_test_has_its_module():
    ours = {home_of(*parts[:k]) for parts in MODULES.values() for k in range(1, len(parts) + 1)}
    others = {
        path.relative_to(ROOT / "tests").with_suffix("") for path in TESTS if path not in ours
    }
    assert {str(path) for path in others} == set(OF_ALL)
