"""The classes behind the three doors, by the names that users write."""

import inspect

from lightning.pytorch import Callback

import genzoo.callbacks
import genzoo.datamodules
import genzoo.zoo

PUBLIC = {
    f"{module.__name__.removeprefix('genzoo.')}.{name}": getattr(module, name)
    for module in (genzoo.zoo, genzoo.datamodules, genzoo.callbacks)
    for name in sorted({*vars(module), *getattr(module, "__all__", ())})
    if inspect.isclass(kind := getattr(module, name))
    if module is not genzoo.callbacks or issubclass(kind, Callback)
}
