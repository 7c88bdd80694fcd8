"""From the store's rows to tables, statistics, figures and captions. Never imports torch or Streamlit."""
