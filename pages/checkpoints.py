"""Checkpoints: the sharpness of some weights, and the landscape round them; two side by side on one scale."""

import streamlit as st

from sam_dash.results.numbers import looks
from sam_dash.results.views import look_density, look_layers, look_m, planes, rounding, slices
from sam_dash.ui import checkpoint_parts, router, show, table, take_away

router.ensure_routed()
st.title("Checkpoints", anchor=False)
lead = show.lead()
st.markdown(
    "How sharp are these weights, and what does the loss look like round them? Any finished run, or a file that the "
    "operator has registered, alone or beside another: SGD against SAM at m = 1 is the picture people expect."
)
at = checkpoint_parts.looked(checkpoint_parts.looks(checkpoint_parts.study()))
answers = {seen.name: seen.answer for seen in at.seen}
table.show(looks.table(answers), "Losses, scores and sharpness of the checkpoints", by="Number")
st.caption(looks.caption(answers))

st.header("The landscape", anchor=False)
show.view(planes.VIEW, at.but(checkpoint_parts.plane()))
show.view(slices.VIEW, at)
with st.expander("What these pictures do not show", icon=":material/help:"):
    st.markdown(
        "- **Other directions.** One or two of thousands are drawn. Random ones miss the few sharp ones (a random "
        "unit vector sees the mean curvature tr(H)/d), top eigenvectors show nothing else.\n"
        "- **Generalisation.** A wide picture is not a better test accuracy: see the numbers above.\n"
        "- **A scale of their own.** Rescaling layers changes curvature, not the function (arXiv:1703.04933). Filter "
        "normalisation (arXiv:1712.09913) takes that out of random directions, not out of eigenvectors; SAM's ball "
        "is in the units of the parameters, and so small on random directions because those are as long as the weights."
    )
st.header("What sharpness is for", anchor=False)
show.view(rounding.VIEW, at)
st.header("Spectrum", anchor=False)
show.view(look_density.VIEW, at, lead=lead)
show.view(look_layers.VIEW, at)
st.header("m-sharpness", anchor=False)
show.view(look_m.VIEW, at)
take_away.checkpoints(at)
