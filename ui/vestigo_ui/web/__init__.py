"""Sign-in and serving: everything between a browser and the Streamlit app."""
