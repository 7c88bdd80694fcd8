"""One file a view: a figure that a page shows of a study. Whatever in this folder has a `VIEW` is registered."""

import importlib
import pkgutil
from typing import Any

from sam_dash.results.views.view import View

_found = [importlib.import_module(f"{__name__}.{m.name}") for m in pkgutil.iter_modules(__path__)]
VIEWS: dict[str, View[Any]] = {module.VIEW.key: module.VIEW for module in _found if hasattr(module, "VIEW")}
"""Key -> view."""
