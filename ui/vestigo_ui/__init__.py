"""Floor 4: what people touch. The `vestigo` command line and the Streamlit app."""
