"""Work of a button: done although the run of the page is stopped, and ended by an error."""

from streamlit.testing.v1 import AppTest


def page() -> None:
    import streamlit as st

    from vestigo_ui.app.components.work import work_button

    def work() -> str:
        runs = st.session_state.setdefault("runs", [])
        runs.append(1)
        if len(runs) == 1:
            st.rerun()
        if len(runs) == 3:
            raise ValueError("no answer")
        return "sent"

    st.markdown(str(work_button("Send", work, key="send")))


def test_work_is_done_by_the_run_after_one_that_is_stopped() -> None:
    app = AppTest.from_function(page).run()
    assert app.markdown[0].value == "None"
    app.button("queued-send").click().run()
    assert app.session_state["runs"] == [1, 1]
    assert app.markdown[0].value == "sent"
    assert app.run().markdown[0].value == "None"


def test_error_ends_the_work() -> None:
    app = AppTest.from_function(page).run()
    app.session_state["runs"] = [1, 1]
    assert app.button("queued-send").click().run().exception[0].message == "no answer"
    assert app.run().markdown[0].value == "None"
    assert len(app.session_state["runs"]) == 3
