"""Who is looking: by a log-in (OIDC, `[auth]` of .streamlit/secrets.toml), or a header of a reverse proxy; nobody
in particular on a server of one's own. docs/shared.md says how each is set up.
"""

from __future__ import annotations

import streamlit as st

from sam_dash.ui import markdown

NAMES = ("email", "name", "sub")  # what is known of a person, the best first
LONGEST = 200


def who() -> str | None:
    """Who is looking; None where nobody is asked."""
    known = st.user.to_dict()
    text = next((str(known[name]) for name in NAMES if known.get(name)), "")
    return " ".join(text.split())[:LONGEST] or None


def gate() -> None:
    """End the page where somebody has to be known and is not; a log-out for who has logged in."""
    if _logs_in():
        if not st.user.is_logged_in:
            st.title("sam-dash", anchor=False)
            st.button("Log in", key="log_in", type="primary", icon=":material/login:", on_click=st.login)
            st.stop()
        with st.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
            st.caption(markdown.literal(who() or ""), width="content")
            st.button("Log out", key="log_out", icon=":material/logout:", on_click=st.logout)
    elif st.get_option("server.trustedUserHeaders") and who() is None:
        st.error("This server is reached through its proxy, which says who is looking.", icon=":material/lock:")
        st.stop()


def _logs_in() -> bool:
    return bool(st.secrets.load_if_toml_exists() and "auth" in st.secrets)
