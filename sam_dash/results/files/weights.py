"""The final weights of a run as safetensors: numbers only, nothing that could be executed. No torch."""

from __future__ import annotations

import json

from sam_dash.runs.store import Store


def safetensors(store: Store, key: str) -> bytes:
    """`w` (d,) as safetensors with the run's specification in its metadata; KeyError where there is none."""
    from safetensors.numpy import save  # only when asked for

    w, run = store.weights(key), store.run(key)
    if w is None or run is None:
        raise KeyError(f"no weights of run {key}")
    about = {"run": key, "spec": json.dumps(run["spec"]), "order": "torch.nn.utils.parameters_to_vector"}
    return bytes(save({"w": w}, about))
