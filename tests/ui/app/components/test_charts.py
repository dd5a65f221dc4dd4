"""Names in figures: shown as they are, whatever markup they hold."""

import json

from streamlit.testing.v1 import AppTest


def page() -> None:
    from vestigo_ui.app.components import charts

    figure = charts.new_figure()
    names = ["<b>gate</b>", "hall & yard"]
    figure.add_heatmap(x=[1, 2], y=names, z=[[1, 2], [3, 4]], name=names[0], text=[["<i>a<br>b", names[1]]])
    figure.update_yaxes(categoryarray=names)
    charts.show_figure(figure, key="cameras", alt="Cameras")


def test_markup_in_names_is_escaped() -> None:
    app = AppTest.from_function(page).run()
    assert not app.exception
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    (trace,) = figure["data"]
    escaped = ["&lt;b&gt;gate&lt;/b&gt;", "hall &amp; yard"]
    assert (trace["y"], trace["name"], figure["layout"]["yaxis"]["categoryarray"]) == (escaped, escaped[0], escaped)
    assert trace["text"] == [["&lt;i&gt;a<br>b", escaped[1]]]
    assert trace["x"] in ([1, 2], {"dtype": "i1", "bdata": "AQI="})
