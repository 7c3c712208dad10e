"""The page of the map, in a browser."""

import numpy as np
import pyarrow as pa
import pytest

from eno.mapping.map import write_map
from eno.similarity.index.neighbours import nearest_others
from eno.similarity.index.space import Space
from tests.browser import launched, needs_browser, wait

pytestmark = needs_browser

COUNT = 90
IDS = [f"Artist {i % 3}/Album {i % 6}/{i:02d}.flac" for i in range(COUNT)]
EVIL = "</script><script>window.hacked = true</script><img src=x onerror='window.hacked = true'>"
TITLES = [EVIL if i == 7 else f"Étude {i}" for i in range(COUNT)]


@pytest.fixture(scope="module")
def vectors():
    rng = np.random.default_rng(0)
    groups = rng.normal(size=(3, 16))[np.arange(COUNT) % 3]
    return (groups + 0.4 * rng.normal(size=(COUNT, 16))).astype(np.float32)


@pytest.fixture(scope="module")
def path(vectors, tmp_path_factory):
    metadata = pa.table({
        "track_id": IDS,
        "title": TITLES,
        "artist": [name.split("/")[0] for name in IDS],
        "album": [name.split("/")[1] for name in IDS],
        "genres": [[("Drone", "Polka", "Jazz")[i % 3]] for i in range(COUNT)],
        "descriptors": [["calm"] if i % 3 == 0 else ["loud", EVIL] for i in range(COUNT)],
    })  # fmt: skip
    folder = tmp_path_factory.mktemp("map")
    write_map(folder / "map.html", IDS, vectors, method="pca", metadata=metadata, audio_roots=folder / "music")
    return folder / "map.html"


@pytest.fixture(scope="module")
def browser():
    with launched() as started:
        yield started


@pytest.fixture
def page(browser, path):
    with browser.new_context(viewport={"width": 1000, "height": 700}, reduced_motion="reduce") as context:
        opened, errors, asked = context.new_page(), [], []
        opened.on("pageerror", lambda error: errors.append(error))
        opened.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(path.as_uri())
        wait(opened, "window.enoMap && enoMap.canvas.dataset.drawn")
        yield opened
        assert errors == []
        assert asked == [path.as_uri()]
        assert not opened.evaluate("Boolean(window.hacked)")


def spot(page, row):
    """Return the screen position of a track."""
    place = page.evaluate("row => enoMap.screenOf(row)", row)
    return place["x"], place["y"]


def loneliest(page):
    """Return the track that is farthest from all others."""
    places = np.array([spot(page, row) for row in range(COUNT)])
    apart = np.linalg.norm(places[:, np.newaxis] - places, axis=2) + 1e6 * np.eye(COUNT)
    return int(apart.min(axis=1).argmax())


def pixels(page):
    """Count the colours of the canvas."""
    return page.evaluate("""() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => {
        const { canvas } = enoMap;
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        const counts = {};
        for (let i = 0; i < data.length; i += 4) {
            const key = [data[i], data[i + 1], data[i + 2]].join();
            counts[key] = (counts[key] || 0) + 1;
        }
        done(counts);
    })))""")


def test_hovering_shows_the_track(page):
    row = loneliest(page)
    page.mouse.move(*spot(page, row))
    wait(page, f"document.querySelector('#tip').dataset.row === '{row}'")
    shown = page.inner_text("#tip")
    for text in (TITLES[row], f"Artist {row % 3} – Album {row % 6}", "Drone" if row % 3 == 0 else "loud"):
        assert text in shown
    page.mouse.move(2, 2)
    wait(page, "document.querySelector('#tip').hidden")


def test_clicking_shows_the_neighbours_and_they_can_be_followed(page, vectors):
    row = loneliest(page)
    page.mouse.click(*spot(page, row))
    wait(page, f"enoMap.canvas.dataset.picked === '{row}'")
    cosines, rows = nearest_others(Space.fit(vectors).apply(vectors), 8)
    shown = page.locator("#neighbours button")
    assert [int(button.get_attribute("data-row")) for button in shown.all()] == rows[row].tolist()
    assert f"{max(0, cosines[row, 0]):.2f}" in shown.first.inner_text()
    assert page.get_attribute("#card audio", "src").endswith(f"music/{IDS[row]}".replace(" ", "%20"))
    shown.first.click()
    assert page.inner_text("#card h2") == TITLES[rows[row, 0]]
    page.keyboard.press("Tab")
    page.locator("#card header button").press("Enter")
    assert page.locator("#card").is_hidden()


def test_search_finds_by_title_artist_and_tag_and_flies_there(page):
    page.fill("#search", "etude 42")
    wait(page, "enoMap.canvas.dataset.matches === '1'")
    page.press("#search", "Enter")
    assert page.inner_text("#card h2") == "Étude 42"
    width, height = page.evaluate("[enoMap.canvas.clientWidth, enoMap.canvas.clientHeight]")
    assert spot(page, 42) == pytest.approx((width / 2, height / 2), abs=1)
    page.fill("#search", "CALM\u00a0 etude 1")
    wait(page, "enoMap.canvas.dataset.matches === '6'")  # tracks 12, 15, 18, 21, 51 and 81
    for _ in range(2):
        page.press("#search", "ArrowDown")
    page.press("#search", "Enter")
    assert page.inner_text("#card h2") == "Étude 18"
    page.fill("#search", "<script>")
    wait(page, f"enoMap.canvas.dataset.matches === '{sum(i % 3 > 0 or i == 7 for i in range(COUNT))}'")
    page.press("#search", "Escape")
    assert page.locator("#matches").is_hidden()


def test_colouring_by_a_tag_changes_pixels_and_the_legend(page):
    by_genre = pixels(page)
    legend = page.locator("#legend button").all_inner_texts()
    assert [text.split() for text in legend] == [[name, "30"] for name in ("Drone", "Jazz", "Polka")]
    page.select_option("#colour", label="calm")
    by_tag = pixels(page)
    assert by_genre.keys() != by_tag.keys()
    legend = page.locator("#legend button").all_inner_texts()
    assert [text.rsplit(maxsplit=1) for text in legend] == [["calm", "30"], ["not calm", "60"]]
    page.locator("#legend button").first.click()
    dimmed = pixels(page)
    assert max(by_tag, key=by_tag.get) == max(dimmed, key=dimmed.get) == "255,255,255"
    assert dimmed["255,255,255"] == by_tag["255,255,255"]  # the others are fainter, but visible
    assert dimmed != by_tag


def test_dark_mode(page):
    page.emulate_media(color_scheme="dark")
    for _ in range(20):  # the page is notified a little later
        found = pixels(page)
        if max(found, key=found.get) == "22,24,28":
            return
    pytest.fail(f"{max(found, key=found.get)} is not dark")


def test_wheel_drag_and_keys_move_the_map(page):
    row = loneliest(page)
    x, y = spot(page, row)
    page.mouse.move(x, y)
    page.mouse.wheel(0, -400)
    wait(page, "enoMap.view().zoom > 1.5")
    assert spot(page, row) == pytest.approx((x, y), abs=0.5)  # zooming keeps the point under the pointer
    page.mouse.down()
    page.mouse.move(x + 50, y + 30, steps=4)
    page.mouse.up()
    assert spot(page, row) == pytest.approx((x + 50, y + 30), abs=8)
    assert page.evaluate("enoMap.canvas.dataset.picked") == "-1"
    before = spot(page, row)
    page.focus("canvas")
    page.keyboard.press("ArrowRight")
    assert spot(page, row)[0] == pytest.approx(before[0] - 80, abs=0.5)
    page.keyboard.press("0")
    wait(page, "enoMap.view().zoom === 1")
    assert spot(page, row) == pytest.approx((x, y), abs=0.5)
    page.keyboard.press("Enter")
    assert page.locator("#card").is_visible()
    page.keyboard.press("Escape")
    assert page.locator("#card").is_hidden()


def test_a_phone_taps_and_pinches(browser, path):
    phone = {"viewport": {"width": 390, "height": 800}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
    with browser.new_context(**phone) as context:
        page = context.new_page()
        page.goto(path.as_uri())
        wait(page, "window.enoMap && enoMap.canvas.dataset.drawn")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        row = loneliest(page)
        page.touchscreen.tap(*spot(page, row))
        wait(page, f"enoMap.canvas.dataset.picked === '{row}'")
        touch = context.new_cdp_session(page)
        for kind, reach in (("Start", 30), ("Move", 45), ("Move", 60)):
            points = [{"x": 195 + side * reach, "y": 150, "id": side} for side in (0, 1)]
            touch.send("Input.dispatchTouchEvent", {"type": f"touch{kind}", "touchPoints": points})
        touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        wait(page, "Math.abs(enoMap.view().zoom - 2) < 0.05")
        assert page.evaluate("enoMap.canvas.dataset.picked") == str(row)
