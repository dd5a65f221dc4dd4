"""Floor 4: the `vestigo` command line and the Streamlit app."""
