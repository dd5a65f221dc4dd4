"""Script that Streamlit runs: the app.

It is not in the folder of the app, because Streamlit takes a folder `pages` next to a script for its own pages and runs
them for every address that names one.
"""

from vestigo_ui.app.main import main

main()
