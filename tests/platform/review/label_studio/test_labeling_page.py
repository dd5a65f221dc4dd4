"""The labelling page in a browser: what it shows, its hotkeys, and the submitted annotation."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.label_studio import OWNER, open_store, project_state, record_sample, render_images, task_key
from tools.label_studio import Server
from vestigo.review.label_studio.client import LabelStudioClient
from vestigo.review.label_studio.images import InlineImages
from vestigo.review.label_studio.pull import pull
from vestigo.review.label_studio.push import push_tasks
from vestigo.review.labels.agreement import predicted_value
from vestigo_models.schemas.builtin import MARKET_1501

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

SECONDS = 60_000
# Label Studio gives radio buttons of several groups one name, so that "checked" is true of one of them only.
CHOSEN = ".ant-radio-checked input"


@pytest.mark.browser
def test_annotator_corrects_by_key_and_submits(
    browser: Browser, studio: LabelStudioClient, label_studio: Server, tmp_path: Path, project: str
) -> None:
    from playwright.sync_api import expect

    with open_store(tmp_path) as store:
        record_sample(store, project, 1)
        push_tasks(store, studio, project, render_images, InlineImages())
        (task,) = next(store.review.tasks(project))
        predicted = {name: predicted_value(MARKET_1501, name, task.prediction) for name in MARKET_1501.names}
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.set_default_timeout(SECONDS)
        page.goto(f"{label_studio.url}/user/login/")
        page.fill("input[name=email]", label_studio.user)
        page.fill("input[name=password]", label_studio.password)
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda url: "/login" not in url, wait_until="commit")
        page.goto(f"{label_studio.url}/projects/{store.review.get_project(project).remote_id}/data?labeling=1")
        instructions = page.get_by_text("Correct wrong values, select cannot tell")
        expect(instructions).to_be_visible(timeout=SECONDS)
        page.keyboard.press("Escape")
        expect(instructions).to_be_hidden()
        groups = page.locator(".vestigo-group")
        expect(groups).to_have_count(len(MARKET_1501), timeout=SECONDS)
        for place, attribute in enumerate(MARKET_1501.attributes):
            value, share = predicted[attribute.name]
            heading = f"{attribute.title} · model: {value} {100 * share:.0f} %"
            expect(groups.nth(place).locator("h4")).to_have_text(heading)
            expect(groups.nth(place).locator(CHOSEN)).to_have_attribute("name", value)
        # All questions are on one screen.
        last = groups.nth(len(MARKET_1501) - 1).bounding_box()
        assert last is not None
        assert last["y"] + last["height"] < 750
        expect(page.get_by_text(f"{task.camera} · {task.tracklet}")).to_be_visible()
        assert page.evaluate("[...document.querySelectorAll('.vestigo img')].some(image => image.naturalWidth == 64)")

        gender, upper = (groups.nth(MARKET_1501.names.index(name)) for name in ("gender", "upper_colour"))
        assert (predicted["gender"][0], predicted["upper_colour"][0]) == ("female", "blue")
        page.keyboard.press("1")
        expect(gender.locator(CHOSEN)).to_have_attribute("name", "male")
        page.keyboard.press("Shift+Digit3")
        expect(upper.locator(CHOSEN)).to_have_attribute("name", "green")
        with page.expect_response(lambda answer: answer.request.method == "POST" and "/annotations" in answer.url):
            page.get_by_role("button", name="Submit current annotation").click()
        page.close()

        assert pull(store, studio, project).reviewed == 1
        wanted = {name: value for name, (value, _) in predicted.items()} | {"gender": "male", "upper_colour": "green"}
        assert project_state(store, project) == {task_key(0): ("pushed", [(OWNER, wanted)])}
