"""Whose parameters a player's turn moves."""

from genzoo.zoo.adversarial import Adversarial, Batch


def moved_by_each(model: Adversarial, batch: Batch) -> dict[str, set[str]]:
    """The model's parts that one step of each player changes, by its name, in order."""
    moved = {}
    for player in model.players():
        before = {name: p.clone() for name, p in model.named_parameters()}
        model.zero_grad()
        optimizer = model.optimizer(player)
        player.loss(batch).backward()
        optimizer.step()
        changed = (name for name, p in model.named_parameters() if (p != before[name]).any())
        moved[player.name] = {name.split(".")[0] for name in changed}
    return moved
