"""The web page of the service, in a browser."""

import contextlib
import json
from urllib.parse import quote

import httpx
import numpy as np
import pytest
import soundfile

from eno.data.labels.encoder import LabelEncoder
from eno.serving.cacheable import Cacheable
from eno.serving.security import Access
from eno.training.feedback import Feedback
from tests.browser import launched, needs_browser, wait
from tests.serving.conftest import make_service, running, save_predictor
from tests.similarity.small_collection import RATE

pytestmark = needs_browser

TRACK = "Low/2018 - Double/01.wav"
EVIL = "<img src=x onerror='window.hacked=true'>.wav"


@pytest.fixture(scope="module")
def browser():
    with launched() as browser:
        yield browser


@pytest.fixture
def served(collection, tmp_path):
    service = make_service(collection, tmp_path)
    with running(service) as address:
        yield service, address


@pytest.fixture
def page(browser, served):
    _, address = served
    with browser.new_context(viewport={"width": 1200, "height": 800}, reduced_motion="reduce") as context:
        opened, errors, asked = context.new_page(), [], []
        opened.on("pageerror", lambda error: errors.append(str(error)))
        opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(address)
        wait(opened, "collectionMap.map && collectionMap.map.canvas.dataset.drawn")
        yield opened
        assert [error for error in errors if "status of 422" not in error and "status of 409" not in error] == []
        assert all(url.startswith((f"{address}/", "blob:", "data:")) for url in asked)
        assert not opened.evaluate("Boolean(window.hacked)")


@pytest.fixture
def song(collection, tmp_path):
    samples, _ = soundfile.read(collection[0].audio / TRACK)
    soundfile.write(tmp_path / EVIL.replace("/", ""), samples, RATE)
    return tmp_path / EVIL


def open_track(page, track_id):
    page.evaluate("id => { location.hash = eno.link(id); }", track_id)
    wait(page, f"document.querySelector('#tags .tags') && document.title.includes({json.dumps(track_id[-6:-4])})")
    wait(page, "document.querySelector('#panel').getAttribute('aria-busy') === 'false'")


def test_a_file_is_tagged_and_compared(page, song, served):
    page.set_input_files("#file", song)
    wait(page, "document.querySelector('#neighbours li')")
    assert page.inner_text("#panel h2") == EVIL
    expected = httpx.post(
        f"{served[1]}/v1/similar?k=10", content=song.read_bytes(), headers={"Content-Type": "audio/wav"}
    ).json()
    shown = page.locator("#tags [data-tag]")
    assert {row.get_attribute("data-tag") for row in shown.all()} == {"Ambient", "Slowcore", "rain"}
    for tag in expected["file"]["tags"]:
        row = page.locator(f"[data-tag={tag['tag']}]")
        assert (row.get_attribute("class") == "named") == tag["named"]
        assert f"{round(tag['probability'] * 100)} %" in row.inner_text()
        bar = row.locator(".bar").bounding_box()
        assert float(
            row.locator(".bar").evaluate("bar => getComputedStyle(bar, '::before').width")[:-2]
        ) == pytest.approx(bar["width"] * tag["probability"], abs=1)
    found = [row.get_attribute("data-id") for row in page.locator("#neighbours li").all()]
    assert found == [one["track_id"] for one in expected["neighbours"]]
    assert "shared" in page.locator("#neighbours li").first.inner_text()


def test_tags_of_other_families_have_their_own_list_and_can_be_corrected(browser, collection, tmp_path):
    data, store = collection
    labels = LabelEncoder(["Slowcore"], ["rain"], others={"instruments": ["guitar"]})
    save_predictor(store, data.root / "others", labels=labels)
    service = make_service(collection, tmp_path, model="others")
    with running(service) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        wait(page, "collectionMap.map && collectionMap.map.canvas.dataset.drawn")
        open_track(page, TRACK)
        assert page.locator("#tags h3").all_inner_texts() == ["Genres", "Descriptors", "Instruments"]
        assert page.locator("#family option").all_inner_texts() == ["descriptor", "genre", "instruments"]
        page.fill("#add", "Harp")
        page.select_option("#family", "instruments")
        page.click("#add-form button")
        wait(page, "document.querySelector('[data-tag=Harp][data-family=instruments]')")
        groups = page.evaluate("[...document.querySelectorAll('#colour optgroup')].map((one) => one.label)")
        assert "tag: instruments" in groups
    ((family, tag),) = [(one.family, one.tag) for one in Feedback(service.feedback.path).latest()]
    assert (family, tag) == ("instruments", "Harp")


def test_an_unreadable_file_is_explained_and_the_page_stays_usable(page, tmp_path):
    (tmp_path / "text.mp3").write_text("no music")
    page.set_input_files("#file", tmp_path / "text.mp3")
    wait(page, "document.querySelector('#status.problem')")
    assert "not audio that can be decoded" in page.inner_text("#status")
    open_track(page, TRACK)
    assert page.inner_text("#status") == ""


def test_dropping_a_file(page, song):
    content = list(song.read_bytes())
    page.evaluate("""([name, content]) => {
        const carried = new DataTransfer();
        carried.items.add(new File([new Uint8Array(content)], name));
        dispatchEvent(new DragEvent("dragenter", { dataTransfer: carried }));
        window.invited = !document.getElementById("drop").hidden;
        dispatchEvent(new DragEvent("drop", { dataTransfer: carried, cancelable: true }));
    }""", [song.name, content])  # fmt: skip
    wait(page, "document.querySelector('#neighbours li')")
    assert page.evaluate("invited && document.getElementById('drop').hidden")


def test_a_neighbour_plays_and_can_be_opened(page):
    open_track(page, TRACK)
    first = page.locator("#neighbours li").first
    track_id = first.get_attribute("data-id")
    first.locator("button").click()
    wait(page, "!document.querySelector('#audio').paused && document.querySelector('#audio').currentTime > 0")
    assert page.get_attribute("#audio", "src") == f"v1/tracks/{quote(track_id)}/audio"
    assert first.locator("button").get_attribute("aria-pressed") == "true"
    first.locator("button").click()
    wait(page, "document.querySelector('#audio').paused")
    first.locator("a").click()
    wait(page, f"document.querySelector('#panel').innerText.includes({json.dumps(track_id)})")
    page.go_back()
    wait(page, f"document.querySelector('#panel').innerText.includes({json.dumps(TRACK)})")


def test_the_map_opens_tracks_and_follows_the_open_track(page, served):
    row = page.evaluate("""() => {
        const spots = [...Array(24).keys()].map(collectionMap.map.screenOf);
        const far = (a, b) => (a === b ? 1e9 : Math.hypot(a.x - b.x, a.y - b.y));
        const apart = spots.map((a) => Math.min(...spots.map((b) => far(a, b))));
        return apart.indexOf(Math.max(...apart));
    }""")
    spot, place = page.evaluate("row => collectionMap.map.screenOf(row)", row), page.locator("#map").bounding_box()
    page.mouse.move(place["x"] + spot["x"], place["y"] + spot["y"])
    wait(page, "!document.querySelector('#tip').hidden")
    track_id = page.evaluate("row => collectionMap.map.tracks.id(row)", row)
    detail = httpx.get(f"{served[1]}/v1/tracks/{quote(track_id)}").json()
    tip = page.inner_text("#tip")
    assert detail["title"] in tip
    assert all(tag["tag"] in tip for tag in detail["tags"] if tag["named"])
    page.mouse.click(place["x"] + spot["x"], place["y"] + spot["y"])
    wait(page, f"document.querySelector('#panel').innerText.includes({json.dumps(track_id)})")
    open_track(page, TRACK)
    wait(page, f"collectionMap.map.tracks.id(Number(collectionMap.map.canvas.dataset.picked)) === {json.dumps(TRACK)}")
    page.click("[data-tag=Slowcore] .name")
    assert page.input_value("#colour").startswith("tag ")
    wait(page, "document.querySelector('#legend').innerText.includes(' %')")


def test_a_newer_map_replaces_the_one_on_the_page(page, served):
    drawn = served[0].snapshot.map.result()
    content = httpx.get(f"{served[1]}/v1/map").json() | {"version": "newer"}
    drawn.version, drawn.answer = "newer", Cacheable.of(json.dumps(content).encode())
    page.evaluate("() => { collectionMap.map.outdated = true; }")
    open_track(page, TRACK)
    wait(page, "!collectionMap.map.outdated")
    picked = f"collectionMap.map.tracks.id(Number(collectionMap.map.canvas.dataset.picked)) === {json.dumps(TRACK)}"
    wait(page, picked)


def test_corrections_are_stored_shown_and_withdrawn(page, served):
    def corrections():
        return [(one.tag, one.verdict) for one in Feedback(served[0].feedback.path).latest()]

    open_track(page, TRACK)
    reject, accept = (page.locator(f"[data-tag=Slowcore] .{kind}") for kind in ("no", "yes"))
    reject.focus()
    page.keyboard.press("Enter")
    wait(page, "document.querySelector('[data-tag=Slowcore].rejected')")
    assert corrections() == [("Slowcore", "reject")]
    assert reject.evaluate("one => one === document.activeElement")
    accept.click()
    wait(page, "document.querySelector('[data-tag=Slowcore] .yes[aria-pressed=true]')")
    assert corrections()[0][1] in ("accept", "add")
    accept.click()
    wait(page, "document.querySelector('[data-tag=Slowcore] .yes[aria-pressed=false]')")
    assert corrections() == []
    page.fill("#add", "night drive <b>")
    page.press("#add", "Enter")
    wait(page, "document.querySelector('[data-tag=\"night drive <b>\"]')")
    assert corrections() == [("night drive <b>", "add")]
    page.reload()
    wait(page, "document.querySelector('[data-tag=\"night drive <b>\"] .yes[aria-pressed=true]')")


def test_search_by_name_and_by_description(page):
    page.keyboard.press("/")
    page.keyboard.type("sigur ros")
    page.keyboard.press("Enter")
    wait(page, "document.querySelectorAll('#found li').length === 3")
    page.fill("#search", "rain on a tin roof")
    page.select_option("#how", "text")
    page.press("#search", "Enter")
    wait(page, "document.querySelector('#panel h2').innerText.includes('rain on a tin roof')")
    assert page.locator("#panel .rows li").count() > 5


def test_everything_is_reachable_by_keyboard(page):
    open_track(page, TRACK)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate("document.activeElement.closest('[id]') && document.activeElement.closest('[id]').id")
        )
    assert {"search", "choose", "colour", "map", "tags", "add", "neighbours"} <= reached


def test_on_a_phone_the_page_fits_and_follows_dark_mode(browser, served):
    phone = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
    with browser.new_context(**phone, color_scheme="dark") as context:
        page = context.new_page()
        page.goto(f"{served[1]}/#/track/{quote(TRACK, safe='')}")
        wait(page, "document.querySelector('#neighbours li') && collectionMap.map")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        red, green, blue = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
        assert max(red, green, blue) < 60
        page.locator("#neighbours button").first.tap()
        wait(page, "!document.querySelector('#audio').paused")


def test_the_token_is_requested_once(browser, collection, tmp_path):
    service = make_service(collection, tmp_path)
    with running(service, Access(token="s3cret")) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        wait(page, "document.querySelector('#token-dialog').open")
        for token in ("wrong", "s3cret"):
            page.fill("#token", token)
            page.press("#token", "Enter")
            wait(page, f"document.querySelector('#token-dialog').open === {'true' if token == 'wrong' else 'false'}")
        wait(page, "document.querySelectorAll('#found li').length === 24 && collectionMap.map")
        page.locator("#found button").first.click()
        wait(page, "document.querySelector('#audio').currentTime > 0")  # the player has access too
        page.reload()
        wait(page, "document.querySelectorAll('#found li').length === 24")
        assert not page.evaluate("document.querySelector('#token-dialog').open")


def test_without_tracks_files_are_still_tagged(browser, collection, tmp_path):
    soundfile.write(tmp_path / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(2 * RATE), RATE)
    with running(make_service(collection, tmp_path, stored=False)) as address, browser.new_context() as context:
        page = context.new_page()
        page.goto(address)
        wait(page, "document.querySelector('#panel p')")
        page.set_input_files("#file", tmp_path / "noise.wav")
        wait(page, "document.querySelectorAll('#tags [data-tag]').length === 3")
        assert page.locator("#map-side").is_hidden()


OTHER = "Low/2018 - Double/02.wav"


class Held:
    """Holds back the answers to requests of a page until `release`."""

    def __init__(self, page, pattern):
        self.routes, self._page, self._pattern = [], page, pattern
        page.route(pattern, lambda route: self.routes.append(route))  # no bound method of a list

    def arrived(self, number=1):
        for _ in range(400):
            if len(self.routes) >= number:
                return
            self._page.wait_for_timeout(25)
        pytest.fail("the request was not sent")

    def release(self):
        self._page.unroute(self._pattern)
        for route in self.routes:
            with contextlib.suppress(Exception):  # of requests that the page gave up
                route.continue_()
        self._page.wait_for_timeout(300)


def test_a_late_answer_to_a_correction_leaves_the_next_track_alone(page, served):
    open_track(page, TRACK)
    held = Held(page, "**/v1/feedback")
    page.click("[data-tag=Slowcore] .no")
    page.click("[data-tag=rain] .no")
    held.arrived()
    open_track(page, OTHER)
    before = page.inner_html("#panel")
    held.release()
    wait(page, "trackView.sent('Low/2018 - Double/01.wav')")
    assert page.inner_html("#panel") == before
    page.click("[data-tag=Ambient] .no")
    wait(page, "document.querySelector('[data-tag=Ambient].rejected')")
    stored = {(one.track_id, one.tag) for one in Feedback(served[0].feedback.path).latest()}
    assert stored == {(TRACK, "Slowcore"), (TRACK, "rain"), (OTHER, "Ambient")}
    page.go_back()
    wait(page, "document.querySelectorAll('#tags .rejected').length === 2")


def test_a_track_reopened_during_a_correction_shows_it(page):
    open_track(page, TRACK)
    held = Held(page, "**/v1/feedback")
    page.click("[data-tag=Slowcore] .no")
    held.arrived()
    open_track(page, OTHER)
    page.go_back()
    held.release()
    wait(page, "document.querySelector('[data-tag=Slowcore].rejected')")


def test_late_results_of_an_earlier_search_are_dropped(page):
    held = Held(page, "**/v1/tracks?*q=Low*")
    page.fill("#search", "Low")
    page.press("#search", "Enter")
    held.arrived()
    page.fill("#search", "sigur ros")
    page.press("#search", "Enter")
    wait(page, "document.querySelectorAll('#found li').length === 3")
    held.release()
    assert page.locator("#found li").count() == 3 and page.input_value("#search") == "sigur ros"


def test_an_upload_that_ends_in_another_view_is_offered_there(page, song):
    held = Held(page, "**/v1/similar?*")
    page.set_input_files("#file", song)
    held.arrived()
    open_track(page, TRACK)
    assert "Analysing" in page.inner_text("#status")
    held.release()
    wait(page, "document.querySelector('#status a')")
    assert TRACK in page.inner_text("#panel")
    page.click("#status a")
    wait(page, "document.querySelector('#panel h2').innerText.startsWith('<img')")


def test_a_second_file_replaces_the_first(page, song, tmp_path):
    soundfile.write(tmp_path / "second.wav", soundfile.read(song)[0], RATE)
    held = Held(page, "**/v1/similar?*")
    page.set_input_files("#file", song)
    held.arrived()
    page.set_input_files("#file", tmp_path / "second.wav")
    held.arrived(2)
    held.release()
    wait(page, "document.querySelector('#panel h2').innerText === 'second.wav'")


def test_the_skip_link_does_not_change_the_view(page):
    open_track(page, TRACK)
    page.focus("#skip")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id === 'panel' && location.hash.startsWith('#/track/')")
    assert TRACK in page.inner_text("#panel")


@pytest.mark.parametrize("keeps_prefix", [True, False])
def test_below_a_path_with_a_token_and_cookies_of_other_applications(browser, collection, tmp_path, keeps_prefix):
    service = make_service(collection, tmp_path)
    with running(service, Access(token="s3cret"), root_path="/eno") as address, browser.new_context() as context:
        page = context.new_page()
        if not keeps_prefix:
            context.route(
                f"{address}/eno/**",
                lambda route: route.fulfill(response=route.fetch(url=route.request.url.replace("/eno/", "/", 1))),
            )
        context.add_cookies([{"name": "prefs", "value": '{"a":1}', "url": address}])
        page.goto(f"{address}/eno/#/track/{quote(TRACK, safe='')}")
        wait(page, "document.querySelector('#token-dialog').open")
        page.keyboard.press("Escape")
        wait(page, "document.querySelector('#status button')")
        assert "requires a token" in page.inner_text("#status")
        page.click("#status button")
        wait(page, "document.querySelector('#token-dialog').open")
        page.fill("#token", "s3cret")
        page.press("#token", "Enter")
        wait(page, "document.querySelector('#neighbours li') && collectionMap.map")
        assert [one["path"] for one in context.cookies() if one["name"] == "eno_session"] == ["/eno/"]
        page.locator("#neighbours button").first.click()
        wait(page, "document.querySelector('#audio').src.includes('/eno/v1/')")
        if keeps_prefix:
            wait(page, "document.querySelector('#audio').currentTime > 0")
        page.reload()
        wait(page, "document.querySelector('#neighbours li')")
        assert not page.evaluate("document.querySelector('#token-dialog').open")
        context.unroute_all(behavior="ignoreErrors")
