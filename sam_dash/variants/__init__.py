"""One file per variant; whatever is in this folder is registered. Importing it does not import torch."""

import importlib
import pkgutil

from sam_dash.maths.contract import REGISTRY, Variant, get

for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

__all__ = ["REGISTRY", "Variant", "get"]
