"""Arguments of the model that come from the data: shape of images, classes and condition."""

from typing import Any

import lightning as L

from ..conditions import Nothing, given_by
from ..runs.suggestions import Misuse
from .parser import same


class Linked:
    """The part of the command line that builds a model for its data."""

    def _takes(self, name: str) -> bool:
        return name in self.get(self.config, "model").get("init_args", {})

    def _image_shape(self, data: L.LightningDataModule) -> tuple[int, ...] | None:
        if not self._takes("image_shape"):
            return None
        shape = getattr(data, "image_shape", None)
        if shape is None:
            raise Misuse(
                f"{type(data).__name__} must have an attribute image_shape, (C, H, W), which "
                f"{self._model_name()} is made for"
            )
        self.linked["image_shape"] = list(shape)
        return tuple(shape)

    def _classes(self, data: L.LightningDataModule) -> int:
        condition, conditional = given_by(data), getattr(data, "conditional", False)
        if conditional and condition == Nothing():
            raise Misuse(f"--data.conditional must be false: {type(data).__name__} has no classes")
        if not self._takes("condition"):
            classes_alone = self._takes("num_classes")
            if condition.from_data and (conditional or classes_alone):
                raise Misuse(
                    f"{self._model_name()} must take a condition of the kind "
                    f"{type(condition).__name__}, which {type(data).__name__} gives, but takes "
                    f"{'classes alone' if classes_alone else 'none'}"
                    f"{': leave --data.conditional out' if conditional else ''}"
                )
            if conditional and not classes_alone:
                raise Misuse(
                    f"--data.conditional must be false: {self._model_name()} takes no num_classes"
                )
        if self._takes("num_classes"):
            self.linked["num_classes"] = condition.num_classes
        return condition.num_classes

    def _condition(self, data: L.LightningDataModule) -> dict[str, Any] | None:
        """The condition as plain values; None if `num_classes` already holds it."""
        if not self._takes("condition"):
            return None
        condition = given_by(data)
        made = self.remembered.made["model"]["init_args"] if self.remembered.made else {}
        if made.get("condition") and not same(condition.to_plain(), made["condition"]):
            raise Misuse(  # before a network is built for a condition that it cannot have
                f"{self.remembered.path} was made for condition {made['condition']}, "
                f"{type(data).__name__} gives {condition.to_plain()}"
            )
        chosen = self._takes("num_classes") and not condition.from_data
        self.linked["condition"] = None if chosen else condition.to_plain()
        return self.linked["condition"]

    def _class_names(self, data: L.LightningDataModule) -> tuple[str, ...]:
        return tuple(getattr(data, "class_names", ()))

    def _model_name(self) -> str:
        return self.get(self.config, "model").class_path.rpartition(".")[-1]
