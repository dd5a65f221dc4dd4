"""The Streamlit app: the screens, and the small pure functions behind them."""
