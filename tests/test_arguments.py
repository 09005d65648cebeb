"""Every argument is described where a user looks: `help()`, signatures, `genzoo models`, --help."""

import inspect
import re
import subprocess
import sys

import pytest

import genzoo.datamodules
import genzoo.zoo
from genzoo import catalogue
from genzoo.__main__ import main
from genzoo.arguments import Described, completed, described, parameters
from genzoo.cli.fit import run
from genzoo.zoo import GAN, WGANGP, AdaGAN
from tests.helpers.public import PUBLIC

each = pytest.mark.parametrize("name", PUBLIC)


@each
def test_every_argument_is_described(name):
    kind = PUBLIC[name]
    taken = [p.name for p in inspect.signature(kind).parameters.values()]
    assert not {"args", "kwargs"} & {*taken}, f"{name} hides arguments behind **kwargs"
    means = described(inspect.getdoc(kind))
    assert [argument for argument in taken if len(means.get(argument, "")) < 3] == []


@each
def test_no_docstring_sends_the_reader_to_another(name):
    assert not re.search(r"[Oo]thers? (arguments )?as", inspect.getdoc(PUBLIC[name]))


def test_help_shows_inherited_arguments_in_the_order_of_the_signature():
    doc = inspect.getdoc(WGANGP)
    assert doc.startswith("A GAN whose discriminator is a critic with a gradient penalty.\n\nArgs:")
    assert [*described(doc)] == [*inspect.signature(WGANGP).parameters]
    assert "the paper's lambda" in described(doc)["penalty_weight"]
    assert described(doc)["latent_dim"] == described(GAN.__doc__)["latent_dim"]
    assert max(map(len, doc.splitlines())) <= 96
    assert inspect.signature(WGANGP).parameters["d_steps"].default == 5
    assert inspect.signature(WGANGP).parameters["g_steps"].default == 1


def test_an_instance_has_the_signature_of_its_call():
    model = GAN((1, 4, 4), latent_dim=2, width=4)
    assert [*inspect.signature(model).parameters] == ["args", "kwargs"]


class Fixed(WGANGP):
    """Mine.

    Args:
        depth: Layers.

    Attributes:
        found: Something.
    """

    def __init__(self, image_shape, depth: int = 3, **kwargs):
        super().__init__(image_shape, 0, lr=1e-3, **kwargs)


class Swapped(Fixed):
    loss = None


def test_an_argument_that_a_class_fixes_is_not_shown():
    means = described(inspect.getdoc(Fixed))
    assert means["depth"] == "Layers."
    assert "penalty_weight" in means and "latent_dim" in means
    assert not {"lr", "num_classes"} & {*means, *inspect.signature(Fixed).parameters}
    assert inspect.getdoc(Fixed).endswith("Attributes:\n    found: Something.")
    with pytest.raises(TypeError, match="lr"):  # it is not taken, so it must not be shown
        Fixed((1, 4, 4), lr=1e-3)


def test_a_class_without_a_docstring_has_that_of_its_base_class():
    assert Swapped.__doc__ == Fixed.__doc__


def test_two_base_classes_each_give_their_arguments():
    class Boosted(AdaGAN, WGANGP):
        """Components with a gradient penalty."""

    names = {"num_components", "penalty_weight", "latent_dim"}
    assert names <= {*described(Boosted.__doc__)} & {*inspect.signature(Boosted).parameters}


def test_a_constructor_that_keeps_its_kwargs_shows_none_of_its_base_class():
    class Closed(WGANGP):
        def __init__(self, image_shape, **kwargs):
            self.kept = kwargs
            super().__init__(image_shape)

    assert [*inspect.signature(Closed).parameters] == ["image_shape"]


def test_classes_that_no_file_holds_are_described():
    kind = type("Made", (WGANGP,), {"__doc__": "Made.", "__module__": "nowhere"})
    assert described(kind.__doc__) == described(WGANGP.__doc__)
    space = {"WGANGP": WGANGP}
    exec("class Typed(WGANGP):\n def __init__(self, a, **kw): super().__init__(a, **kw)", space)
    assert "latent_dim" in inspect.signature(space["Typed"]).parameters


def test_what_needs_no_default_behind_one_is_taken_by_name():
    class Before(Described):
        def __init__(self, first=1, *args, **kwargs):
            super().__init__(*args, **kwargs)

    class After(Before, WGANGP):
        def __init__(self, *args, second=2, **kwargs):
            super().__init__(*args, **kwargs)

    found = inspect.signature(After).parameters
    assert [*found][0] == "first" and {"second", "image_shape"} <= {*found}
    assert found["image_shape"].kind is found["image_shape"].KEYWORD_ONLY


def test_arguments_that_a_class_fixes_are_known_to_it():
    """So that their values are checked like any other."""
    assert "lr" in parameters(Fixed, fixed=True) and "lr" not in parameters(Fixed)


def test_a_section_of_arguments_is_read_and_written():
    doc = """One.

    Args:
        a, b: Both,
            in two lines.
        c (int): Of Google's form.

    Raises:
        ValueError: Never.
    """
    means = {"a": "Both, in two lines.", "b": "Both, in two lines.", "c": "Of Google's form."}
    assert described(doc) == means
    assert described(completed(doc, means)) == means
    assert completed(doc, {}) == "One.\n\nRaises:\n    ValueError: Never."
    assert described(None) == {} and completed(None, {"a": "b"}) == "Args:\n    a: b"


@pytest.mark.parametrize("entry", catalogue.models() + catalogue.data(), ids=lambda e: e.name)
def test_what_is_read_without_importing_is_what_python_says(entry):
    kind = getattr(genzoo.zoo, entry.name, None) or getattr(genzoo.datamodules, entry.name)
    names = [argument.partition(":")[0].partition(" =")[0] for argument in entry.arguments]
    assert sorted(names) == sorted(inspect.signature(kind).parameters)
    assert entry.meanings == described(inspect.getdoc(kind))


def test_the_front_door_says_what_each_argument_means(capsys):
    assert main(["models", "WGANGP"]) == 0
    out = capsys.readouterr().out
    assert "    d_steps: int = 5\n        " in out
    assert "    latent_dim: int = 32\n        D, entries of the noise z.\n" in out
    assert out.count("latent_dim:") == 1 and "Args:" not in out


@pytest.mark.parametrize(
    "words, means",
    [
        (["--model", "WGANGP", "--model.help", "--data", "Digits"], ("penalty_weight", "noise z")),
        (["--model.help", "WGANGP"], ("penalty_weight", "noise z")),
        (["--model", "GAN", "--data", "Digits", "--data.help"], ("--data.test_size", "a fraction")),
    ],
)
def test_the_command_line_says_what_each_argument_means(words, means, capsys):
    assert run("fit", words) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert all(text in out for text in means)
    assert out.startswith("usage: genzoo ")


def test_without_docstrings_nothing_fails():
    code = (
        "from genzoo.arguments import Described\n"
        "import inspect\n"
        "class A(Described):\n"
        "    'One.'\n"
        "    def __init__(self, a): pass\n"
        "class B(A):\n"
        "    'Two.'\n"
        "print(B.__doc__, inspect.signature(B))"
    )
    found = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True)
    assert (found.stdout, found.stderr) == ("None (a)\n", "")
