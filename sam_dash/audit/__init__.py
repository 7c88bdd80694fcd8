"""Which m is this loop trained with? One or more steps of anybody's SAM code, watched from outside.

    with audit(model, optimiser) as a:
        training_step(batch)
    print(a.report())

The loop is not changed. See docs/audit.md for what can be told, what cannot, and why. A report is read without torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sam_dash.audit.report import Line, Report

if TYPE_CHECKING:
    from sam_dash.audit.loop import Audit, audit

__all__ = ["Audit", "Line", "Report", "audit"]


def __getattr__(name: str) -> Any:
    """`Audit` and `audit`, with torch, where they are asked for."""
    if name in ("Audit", "audit"):
        from sam_dash.audit import loop

        return getattr(loop, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
