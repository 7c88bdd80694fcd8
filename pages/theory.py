"""Theory: iterates beside the SDE that the paper derives for them, and where it holds."""

import streamlit as st

from sam_dash.results.views import predicted_gradient, theory_moments, theory_paths, weak_error
from sam_dash.results.views.theory import QUALITATIVE
from sam_dash.ui import router, theory_parts

router.ensure_routed()
st.title("Theory beside the iterates", anchor=False)
st.markdown(
    "m-USAM with step length η follows, the paper says, d*X* = −∇(*f* + ρ/2 ‖∇*f*‖² + **ρ/(2*m*) tr *V***) d*t* + "
    "√(η *S*) d*W*, with *S* the covariance of its step; n-USAM without the term in tr *V* "
    "(Luo et al., arXiv:2509.18001; read at second hand). Here both are computed, and compared."
)
if theory_parts.part() == "runs":
    theory_parts.runs()
    st.stop()
at = theory_parts.theory()
says = st.container()
if at.setting.normalised:
    st.markdown(QUALITATIVE)
moments = theory_parts.shown(theory_moments.VIEW, at)
theory_parts.shown(theory_paths.VIEW, at)
st.header("Weak error", anchor=False)
errors = theory_parts.shown(weak_error.VIEW, at)
st.header("The mean step at one place", anchor=False)
mean = theory_parts.shown(predicted_gradient.VIEW, at)
says.markdown(f"**{next(iter([*errors, *mean, *moments]))}**")
with st.expander("What this page does not show", icon=":material/help:"):
    st.markdown(
        "- **Training.** Two to six weights and 24 samples. That the SDE follows the iterates here says nothing of "
        "whether its terms matter in a network, nor of test accuracy.\n"
        "- **The order in ρ of the mean.** On least squares the mean step *is* the drift at every ρ, so that no error "
        "in ρ can be seen there; it is seen in the covariance, and on the other problems at one place.\n"
        "- **Long times.** The theory is of a fixed time t as η falls. The constant may grow with t.\n"
        "- **SAM itself.** What trains networks normalises the perturbation; of that there is no closed form."
    )
