"""One file per measurement; whatever is in this folder is registered. Importing it does not import torch.

So is whatever is in the folders that the environment variable SAM_DASH_MEASURES names, separated as in PATH.
"""

import importlib
import os
import pkgutil

from sam_dash.runs.measure import REGISTRY, rows

__path__.extend(filter(None, os.environ.get("SAM_DASH_MEASURES", "").split(os.pathsep)))
for _module in sorted(m.name for m in pkgutil.iter_modules(__path__)):
    importlib.import_module(f"{__name__}.{_module}")

MEASURES = rows(REGISTRY)

__all__ = ["MEASURES"]
