"""A LightningCLI whose steps have plain names."""

from typing import Any

import lightning as L
from lightning.pytorch.cli import LightningCLI


class OpenCLI(LightningCLI):
    """A LightningCLI of which a subclass may change how a command is run, and with what."""

    def get(self, config: Any, key: str) -> Any:
        """An entry of a configuration, of the command's part of it where there are commands."""
        return self._get(config, key)

    def make_trainer(self, config: dict[str, Any]) -> L.Trainer:
        return self._instantiate_trainer(config, [])

    def arguments_of(self, command: str, found: dict[str, Any]) -> dict[str, Any]:
        """What the Trainer's method is called with, from what Lightning has found."""
        return found

    def run_command(self, command: str) -> None:
        """Calls the Trainer's method, with what comes before and after it."""
        super()._run_subcommand(command)

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        return self.arguments_of(subcommand, super()._prepare_subcommand_kwargs(subcommand))

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_command(subcommand)

    def _parse_ckpt_path(self) -> None:
        """Nothing: Lightning's lets a checkpoint override a user's flag silently."""
