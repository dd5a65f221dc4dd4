"""What Streamlit runs: the app. It lies apart, because a folder `pages` beside a script is taken for its pages, which
would run by themselves whenever an address names one before anything else was asked for."""

from vestigo_ui.app.main import main

main()
