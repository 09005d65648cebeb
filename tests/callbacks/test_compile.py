"""Compiled training is the same training: same steps, same names, nothing left behind."""

import copy

import lightning as L
import pytest
import torch
from torch import nn

from genzoo.callbacks import Compile
from genzoo.calls import kept
from genzoo.modes import eager
from genzoo.zoo import ACGAN, GAN, LAPGAN, VAE, WGANGP, AdaGAN, ImprovedGAN, ProgressiveGAN
from tests.helpers.models import GAMES, TINY, batches, build
from tests.helpers.training import bits, fit, loader


@pytest.fixture
def graphs():
    torch._dynamo.reset()
    yield []
    torch._dynamo.reset()


def counting(graphs):
    """A backend that only notes what it is given, and runs it as it is."""

    def compiler(graph, inputs):
        graphs.append(graph)
        return graph.forward

    return compiler


MODELS = {
    "gan": lambda: GAN((1, 8, 8), width=16, latent_dim=4, ema_decay=0.9),
    "conv": lambda: GAN((1, 16, 16), network="conv", width=4, latent_dim=4, num_classes=3),
    "r1": lambda: GAN((1, 8, 8), width=16, latent_dim=4, r1=1.0),
    "wgan_gp": lambda: WGANGP((1, 8, 8), width=16, latent_dim=4, d_steps=2),
    "vae": lambda: VAE((1, 8, 8), width=16, latent_dim=4),
    "judge": lambda: ACGAN((1, 8, 8), num_classes=3, width=16, latent_dim=4),
    "features": lambda: ImprovedGAN((1, 8, 8), width=16, latent_dim=4, feature_matching=True),
    "levels": lambda: LAPGAN((1, 8, 8), levels=1, width=16, latent_dim=4, detail_width=4),
}


@pytest.mark.parametrize("make", MODELS.values(), ids=MODELS)
def test_weights_and_their_names_stay_what_they_are(make, graphs):
    found = []
    for callbacks in ([], [Compile(backend=counting(graphs))]):
        torch.manual_seed(0)
        model = make()
        size = model.image_shape[-1]
        fit(model, loader(bits(24, (1, size, size))), 3, callbacks=callbacks)
        assert bool(graphs) == bool(callbacks)
        assert not any(part._compiled_call_impl for part in model.modules())
        found.append(model.state_dict())
    plain, compiled = found
    assert list(plain) == list(compiled)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)


def test_looking_at_a_model_is_not_compiled(graphs):
    model = GAN((1, 8, 8), width=16, latent_dim=4)
    model.generator.compile(backend=counting(graphs))
    model.sample(2)
    assert not graphs
    model.generator(model.prior(2))
    assert len(graphs) == 1
    with eager(model):
        model.generator(model.prior(3))
    assert len(graphs) == 1
    assert model.generator._compiled_call_impl


def parts(model, graphs, steps: int = 3, **settings) -> set[str]:
    """The names of what is compiled in a training of this model."""
    compile, found = Compile(backend=counting(graphs), **settings), set()

    class Look(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            names = pl_module.named_modules()
            found.update(name for name, part in names if part._compiled_call_impl)

    fit(model, loader(bits(24)), steps, callbacks=[compile, Look()])
    return found


def test_what_the_model_calls_is_compiled(graphs):
    numbers = {"width": 16, "latent_dim": 4}
    assert parts(GAN((1, 8, 8), **numbers), graphs) == {"generator", "discriminator"}
    found = parts(ACGAN((1, 8, 8), num_classes=3, **numbers), graphs)
    assert {"generator", "discriminator.body"} <= found and "discriminator" not in found
    small = {**numbers, "levels": 1, "detail_width": 4}
    found = parts(LAPGAN((1, 8, 8), **small), graphs)
    expected = {f"{who}.levels.{k}" for who in ("generator", "discriminator") for k in (0, 1)}
    assert expected <= found


def left_eager(name: str, monkeypatch, graphs) -> set[str]:
    """The networks of a game of which some layer runs uncompiled after the first batch."""
    model, compiled, found = build(name), [], set()
    places = {part: place for place, part in model.named_modules()}

    def watched(forward):
        def run(layer, *inputs):
            if compiled == [False] and not torch.compiler.is_compiling():
                found.add(places[layer].split(".")[0])
            return forward(layer, *inputs)

        return run

    for kind in (nn.Linear, nn.Conv2d, nn.ConvTranspose2d):
        monkeypatch.setattr(kind, "forward", watched(kind.forward))
    if graphs is None:

        def pretended(network, **_):
            def call(*inputs):
                before, compiled[:] = compiled[:], [True]
                try:
                    return network._call_impl(*inputs)
                finally:
                    compiled[:] = before

            network._compiled_call_impl = call

        monkeypatch.setattr(nn.Module, "compile", pretended)

    class Later(L.Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx:
                compiled[:] = [False]

        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            compiled.clear()

    compile = Compile(backend=counting(graphs) if graphs is not None else "eager")
    fit(model, batches(name), 3, callbacks=[compile, Later()])
    return found


games = pytest.mark.parametrize("name", GAMES)


@games
def test_every_part_that_plays_is_reached(name, monkeypatch):
    """By a compiler that compiles nothing, and only says what runs within its calls."""
    assert left_eager(name, monkeypatch, None) == TINY[name].eager


@games
@pytest.mark.slow
def test_every_part_that_plays_is_compiled(name, monkeypatch, graphs):
    assert left_eager(name, monkeypatch, graphs) == TINY[name].eager
    assert len(graphs) >= 4  # at least two networks, which learn or do not
    assert not torch._dynamo.utils.counters["graph_break"]


def test_the_first_batches_are_watched_until_all_have_played(graphs):
    """The features that this generator is to match are not asked for in its first batch."""
    model = ImprovedGAN((1, 8, 8), width=16, latent_dim=4, d_steps=2, feature_matching=True)
    assert {"discriminator", "discriminator.body"} <= parts(model, graphs)


def test_who_has_a_turn_later_is_compiled_too(graphs):
    model = AdaGAN((1, 8, 8), width=16, latent_dim=4, num_components=2, stage_steps=50)
    found = parts(model, graphs)
    assert {"generator.components.0", "generator.components.1", "classifier"} <= found


@pytest.mark.slow
def test_a_network_that_grows_has_one_graph_for_each_stage(graphs):
    model = ProgressiveGAN((1, 8, 8), width=4, latent_dim=4, stage_steps=3, ema_decay=0.0)
    plain = copy.deepcopy(model)
    data = loader(bits(24))
    with torch._dynamo.config.patch(suppress_errors=False):
        for one, callbacks in ((model, [Compile(backend=counting(graphs))]), (plain, [])):
            torch.manual_seed(0)
            fit(one, data, 8, callbacks=callbacks)
    assert model.growth == 1 and torch._dynamo.config.recompile_limit < 64
    # In three stages two networks, which train or only give; not one for each of eight steps.
    assert 6 <= len(graphs) <= 12
    assert not torch._dynamo.utils.counters["graph_break"]
    torch.testing.assert_close(model.state_dict(), plain.state_dict(), rtol=1e-3, atol=1e-4)


def test_results_are_copies_where_a_graph_writes_over_its_own(graphs):
    """As CUDA graphs do: a second call of one network leaves its results where the first did."""

    def over_its_own(graph, inputs):
        call, places = graph.forward, []

        def again(*args):
            results = call(*args)
            if not places:
                places.extend(torch.empty_like(x) for x in results)
            for place, x in zip(places, results, strict=True):
                place.copy_(x.detach())
            return places

        return again

    network = torch.nn.Linear(2, 2).requires_grad_(False)
    found = []
    for mode in ("default", "reduce-overhead"):
        torch._dynamo.reset()
        network._compiled_call_impl = None
        network.compile(backend=over_its_own)
        if mode != "default":
            network._compiled_call_impl = kept(network._compiled_call_impl)
        first = network(torch.zeros(1, 2))
        network(torch.ones(1, 2))
        found.append(torch.equal(first, network.bias[None]))
    assert found == [False, True]


class Calls(L.Callback):
    """How the generator is called in each step; None: as it was written."""

    def __init__(self):
        self.found = []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.found.append(pl_module.generator._compiled_call_impl)


@pytest.mark.parametrize(("mode", "copies"), [("default", False), ("reduce-overhead", True)])
def test_only_where_graphs_are_used(graphs, mode, copies):
    calls = Calls()
    callbacks = [Compile(mode, backend=counting(graphs)), calls]
    fit(GAN((1, 8, 8), width=16, latent_dim=4), loader(bits(24)), 2, callbacks=callbacks)
    first, second = calls.found
    assert first is None
    assert (second.__qualname__ == "kept.<locals>.copied") == copies


def test_an_error_in_the_first_batch_leaves_nothing_behind(graphs):
    class Broken(GAN):
        def generator_loss(self, batch):
            raise ValueError("broken")

    model = Broken((1, 8, 8), width=16, latent_dim=4)
    before = torch._dynamo.config.recompile_limit
    compile = Compile(backend=counting(graphs))
    with pytest.raises(ValueError, match="broken"):
        fit(model, loader(bits(24)), 1, callbacks=[compile])
    assert not any(part._forward_hooks for part in model.modules())
    assert torch._dynamo.config.recompile_limit == before
