"""The frame of the dashboard: page configuration, navigation, and the engine that it starts once."""

import streamlit as st

from sam_dash.ui import backend, frame, people, router, sharing

st.set_page_config(page_icon=router.FAVICON, layout="wide")
st.session_state[router.ROUTED] = True
page = router.build()
people.gate()
frame.draw()
sharing.button()
backend.engine_note()
page.run()
