"""The rho x m map: the effect of m depends on rho, so both are on the axes."""

from functools import partial

import streamlit as st

from sam_dash.results.views.rho_map import VIEW
from sam_dash.results.views.view import Selection
from sam_dash.ui import choices, controls, router, show, states, trajectory

router.ensure_routed()
st.title("ρ × m", anchor=False)
lead = show.lead()
st.markdown(
    "Is a smaller *m* better still where every *m* has its **own best ρ**? Too large a ρ can collapse training to "
    "chance, and a collapsed network is flat, so flatness must be read beside the accuracy."
)
study = states.with_results()

with st.container(horizontal=True, vertical_alignment="bottom"):
    finals, runs, pooled = choices.scope(study)
    variant = choices.swept_variant(finals)
    of = finals[finals["variant"] == variant] if variant else finals
    quantity = choices.one_quantity(of, ("test_acc", "tr_H", "lam_max", "tr_V", "train_loss"))
    interval = controls.interval()
at = Selection(study, finals, runs, partial(trajectory.curves, study), interval)
if quantity is None or not show.view(VIEW, at.but(variant=variant, quantity=quantity, pooled=pooled), show.SAYS, lead):
    st.stop()
st.caption(
    "The best ρ is chosen by the test score of the seeds it is then compared on. Runs on fresh seeds at the best ρ "
    "of each m would be a fair comparison."
)
