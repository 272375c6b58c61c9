"""The page in a real Chromium, with real clips and the real service."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Page, Route, expect

from examples.browser import CHROMIUM, PHONE, Visit, chromium
from examples.sample_clip import sample_clip, voice, write_clip
from service.app import create_app
from service.settings import Settings
from tests.service.running import Service, free_port

pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="needs Chromium: apt-get install chromium (the page's other tests ran)"
)

WORDS = "this is really good"
CAPTIONS = """WEBVTT

00:00.000 --> 00:02.200
This is <b>really</b> good.

00:02.200 --> 00:04.400
I hated every minute of it.
"""
LAST_SECOND = 4.4


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def clip_file(clip: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A name that would do harm wherever it is taken for markup or for a shell's words.
    file = tmp_path_factory.mktemp("clips") / 'it\'s <img src=x onerror=alert(1)>; "$(x)", 1.mp4'
    file.write_bytes(clip)
    return file


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As long as `CAPTIONS`."""
    file = tmp_path_factory.mktemp("clips") / "talk.mp4"
    file.write_bytes(sample_clip(LAST_SECOND, fps=10))
    return file


@pytest.fixture
def visit(browser: Browser, service: Service) -> Iterator[Visit]:
    with Visit(browser, f"http://127.0.0.1:{service.port}/") as opened:
        yield opened.ready()
        at_home(opened)


def at_home(visit: Visit, but: str = "(?!)") -> None:
    """Nothing was asked of another host, and nothing was complained of."""
    ours = (visit.home, f"blob:{visit.home}")
    foreign = [url for url in visit.requests if not url.startswith(ours)]
    assert not foreign
    assert not [complaint for complaint in visit.complaints if not re.search(but, complaint)]


def accessible(page: Page) -> None:
    found = Axe().run(page)
    assert not found.response["violations"], found.generate_report()


def raw_answer(page: Page) -> dict[str, Any]:
    text = page.locator("#raw").text_content()
    assert text is not None
    answer: dict[str, Any] = json.loads(text)
    return answer


def box(page: Page, selector: str) -> dict[str, float]:
    """Where an element lies in the window (px)."""
    found: dict[str, float] = page.locator(selector).evaluate(
        "e => e.getBoundingClientRect().toJSON()"
    )
    return found


def score_at(x: float, rail: dict[str, float]) -> float:
    return 6 * (x - rail["x"]) / rail["width"] - 3


def until(video: Locator, condition: str) -> None:
    """Wait; playwright's own wait_for_function is refused by the page's policy."""
    again = "await new Promise((later) => setTimeout(later, 20))"
    video.evaluate(f"async (video) => {{ while (!(video.{condition})) {again}; }}")


def live(page: Page) -> str:
    return page.locator("#live").text_content() or ""


def test_a_clip_goes_up_and_its_score_is_shown(visit: Visit, clip_file: Path) -> None:
    page = visit.page
    accessible(page)
    visit.fill(clip_file, WORDS)
    expect(page.locator("#clip-name")).to_have_text(clip_file.name)
    visit.submit()
    answer = raw_answer(page)
    shown = f"{abs(answer['score']):.2f}"
    expect(page.locator(".hero .score")).to_contain_text(shown)
    expect(page.locator(".hero .label")).to_have_text(answer["label"])
    scale = page.locator(".scale").get_attribute("aria-label") or ""
    assert shown in scale
    assert f"{abs(answer['interval']['low']):.2f}" in scale
    # The picture agrees with the numbers.
    rail, mark, band = (box(page, f".scale .{name}") for name in ("rail", "mark", "band"))
    assert score_at(mark["x"] + mark["width"] / 2, rail) == pytest.approx(answer["score"], abs=0.05)
    assert score_at(band["x"], rail) == pytest.approx(answer["interval"]["low"], abs=0.05)
    parts = [box(page, f".gate .{name}")["width"] for name in ("global", "local")]
    assert parts[0] / sum(parts) == pytest.approx(answer["gate"]["global"], abs=0.01)
    # Both shares can be read, however small their parts are.
    for name in ("global", "local"):
        share = page.locator(".gate span").filter(has_text=name)
        expect(share).to_have_text(f"{round(100 * answer['gate'][name])}% {name}")
        assert share.evaluate("e => e.parentElement.scrollWidth <= e.parentElement.clientWidth")
    # A screen reader is told, and the keyboard goes on at the result.
    assert shown in live(page)
    expect(page.locator("#result-title")).to_be_focused()
    accessible(page)


def test_the_clip_plays_and_its_position_follows_keys_and_clicks(
    visit: Visit, long_clip: Path
) -> None:
    page = visit.fill(long_clip, CAPTIONS).submit().page
    seek = page.get_by_role("slider", name="Position in the clip")
    video = page.locator(".player video")

    def position() -> float:
        return float(video.evaluate("v => v.currentTime"))

    seek.focus()
    page.keyboard.press("ArrowRight")
    assert position() == pytest.approx(1.0, abs=0.05)
    assert seek.get_attribute("aria-valuetext") == "0:01.0 of 0:04.4"
    lanes = box(page, "[role=slider]")
    page.mouse.click(lanes["x"] + lanes["width"] / 3, lanes["y"] + lanes["height"] / 2)
    assert position() == pytest.approx(LAST_SECOND / 3, abs=0.05)
    second = page.locator(".caption").nth(1)
    expect(second).to_have_accessible_name(re.compile("I hated every minute"))
    second.click()
    assert position() == pytest.approx(2.2, abs=0.05)
    expect(second).to_have_class(re.compile(r"\bnow\b"))
    before = box(page, ".head")["x"]
    video.evaluate("v => { v.muted = true; v.playbackRate = 4; return v.play(); }")
    video.evaluate("v => new Promise(done => v.addEventListener('ended', done))")
    assert box(page, ".head")["x"] > before + 50


def test_clip_and_captions_are_dropped_together(
    visit: Visit, clip_file: Path, tmp_path: Path
) -> None:
    words = tmp_path / "words.vtt"
    words.write_text(CAPTIONS)
    visit.drop(clip_file, words)
    page = visit.page
    expect(page.locator("#transcript-hint")).to_contain_text("WebVTT with 2 captions")
    expect(page.locator("#clip-name")).to_have_text(clip_file.name)
    visit.submit()
    # Times and markup reached the service as captions, not as words.
    assert raw_answer(page)["predict"]["seen"]["text"]["tokens"] == 14


def test_what_moved_the_score_is_shown(visit: Visit, clip_file: Path) -> None:
    page = visit.fill(clip_file, "what a <b>wonderful</b> day").submit().page
    explanation = raw_answer(page)["explanation"]
    rows = page.locator(".shares li")
    for row, (name, said) in zip(
        rows.all(), {"text": "words", "audio": "voice", "video": "face"}.items(), strict=True
    ):
        expect(row).to_contain_text(said)
        expect(row).to_contain_text(f"{abs(explanation['shapley'][name]):.2f}")
        expect(row).to_contain_text(f"{abs(explanation['without'][name]):.2f}")
    # The bars agree with the numbers: their lengths are to each other as these are.
    words, voice = (box(page, f".shares .bar >> nth={i}")["width"] for i in (0, 1))
    shapley = explanation["shapley"]
    assert voice / words == pytest.approx(abs(shapley["audio"] / shapley["text"]), abs=0.02)
    strongest = max(explanation["words"], key=lambda word: abs(word["change"]))
    marked = page.locator(".words mark", has=page.locator("sup"))
    assert strongest["word"] in "".join(marked.all_text_contents())
    for kind, modality in (("face", "video"), ("sound", "audio")):
        lane = page.locator(f".lane.{kind}")
        expect(lane.get_by_role("img")).to_have_accessible_name(re.compile(r"\d"))
        moments = [m for m in explanation["moments"] if m["modality"] == modality]
        expect(lane.locator(".moment")).to_have_count(len(moments))
    accessible(page)


def test_captions_are_scored_one_by_one(visit: Visit, long_clip: Path) -> None:
    page = visit.fill(long_clip, CAPTIONS).submit().page
    answer = raw_answer(page)
    good, bad = answer["timeline"]["segments"]
    assert good["score"] > 1 > -1 > bad["score"]
    rows = page.get_by_role("list", name="Score of each segment").get_by_role("listitem")
    for row, segment in zip(rows.all(), (good, bad), strict=True):
        expect(row).to_contain_text(segment["text"])
        expect(row).to_contain_text(f"{abs(segment['score']):.2f}")
    zero = box(page, ".scores .zero")["y"]
    ups = [box(page, f".scores g >> nth={i} >> .bar") for i in (0, 1)]
    assert ups[0]["y"] < zero - 5
    assert ups[1]["y"] == pytest.approx(zero, abs=2)
    rows.nth(1).get_by_role("button").click()
    assert page.locator(".player video").evaluate("v => v.currentTime") == pytest.approx(2.2)
    expect(page.locator(".hero .score")).to_contain_text(f"{abs(answer['predict']['score']):.2f}")
    accessible(page)


def admit_three_seconds(page: Page) -> None:
    """Let the page believe that one score takes 3 s at most: 50 s of clip would take too long."""

    def short(route: Route) -> None:
        info = route.fetch().json()
        info["limits"]["max_clip_seconds"] = 3
        route.fulfill(json=info)

    page.route("**/info", short)
    page.reload()


def test_a_clip_too_long_for_one_score_is_scored_along_its_captions(
    visit: Visit, service: Service, long_clip: Path
) -> None:
    page = visit.page
    admit_three_seconds(page)
    visit.ready().fill(long_clip, WORDS)
    until(page.locator("#preview"), "duration > 3")
    visit.submit()
    expect(page.locator("#transcript-error")).to_contain_text("load a WebVTT, SRT or JSON file")
    said = [{"start": 0, "end": 2.2, "text": "Good."}, {"start": 2.2, "end": 4.4, "text": "Bad."}]
    page.fill("#transcript", json.dumps({"segments": said}))
    visit.submit()
    answer = raw_answer(page)
    expect(page.locator(".hero .label")).to_have_text(answer["overall"]["label"])
    expect(page.locator(".segments li")).to_have_count(2)
    expect(page.locator("#curl")).to_contain_text("-F transcript=@captions.json")
    assert not [url for url in visit.requests if url.endswith("/predict")]
    accessible(page)
    wait_until_forgotten(visit, service)


def test_long_work_can_be_cancelled(visit: Visit, service: Service, long_clip: Path) -> None:
    page = visit.page
    admit_three_seconds(page)
    visit.ready().fill(long_clip, CAPTIONS)
    until(page.locator("#preview"), "duration > 3")
    # Whatever the service has done by then, the page hears nothing of it.
    page.route("**/jobs/*/events", lambda route: None)
    with page.expect_request("**/jobs/*/events"):
        page.click("#submit")
    page.click("#cancel")
    expect(page.locator("#progress")).to_be_hidden()
    expect(page.locator(".hero")).to_have_count(0)
    wait_until_forgotten(visit, service)


def wait_until_forgotten(visit: Visit, service: Service) -> None:
    """The service keeps neither clip nor result of the page's jobs."""
    events = next(url for url in visit.requests if url.endswith("/events"))
    service.wait_for(events.removesuffix("/events"), status=404)


def test_a_file_beside_the_field_does_not_replace_the_page(visit: Visit, clip_file: Path) -> None:
    visit.drop(clip_file, onto="#result")
    expect(visit.page.locator("#clip-name")).to_have_text(clip_file.name)


def test_the_keyboard_is_enough(visit: Visit, clip_file: Path) -> None:
    page = visit.page
    keys = page.keyboard
    # Subscribed from the start: the dialogue may open faster than a later subscription arrives.
    page.on("filechooser", lambda chooser: chooser.set_files(clip_file))
    keys.press("Tab")
    expect(page.get_by_text("Skip to the form")).to_be_focused()
    keys.press("Enter")
    keys.press("Tab")
    expect(page.locator("#clip")).to_be_focused()
    outline = "e => getComputedStyle(e.labels[0]).outlineStyle"
    assert page.locator("#clip").evaluate(outline) == "solid"
    keys.press("Enter")
    expect(page.locator("#clip-name")).to_have_text(clip_file.name)
    reach(page, "#transcript")
    keys.type(WORDS)
    keys.press("Tab")
    expect(page.locator("#submit")).to_be_focused()
    keys.press("Enter")
    page.wait_for_selector(".hero")
    reach(page, "[role=slider]")
    reach(page, "summary >> nth=1")
    keys.press("Enter")
    expect(page.locator("#raw")).to_be_visible()


def reach(page: Page, selector: str) -> None:
    """Press Tab until the focus is there."""
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.locator(selector).evaluate("e => e === document.activeElement"):
            return
    raise AssertionError(f"Tab does not lead to {selector}")


def test_it_fits_a_phone_in_the_dark(browser: Browser, service: Service, clip_file: Path) -> None:
    address = f"http://127.0.0.1:{service.port}/"
    with Visit(browser, address, viewport=PHONE, color_scheme="dark", has_touch=True) as visit:
        page = visit.ready().fill(clip_file, WORDS).submit().page
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        red, green, blue = page.evaluate(
            "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
        )
        assert red + green + blue < 150
        small = page.evaluate(
            "[...document.querySelectorAll('button, .button, summary')].filter(e => e.offsetHeight"
            " && e.offsetHeight < 44).map(e => e.textContent)"
        )
        assert not small, "too small for a thumb"
        accessible(page)
        at_home(visit)


def test_what_is_missing_is_asked_for_without_a_request(visit: Visit, clip_file: Path) -> None:
    page = visit.page
    page.click("#submit")
    expect(page.locator("#clip-error")).to_have_text("Choose or record a clip first.")
    expect(page.locator("#clip")).to_be_focused()
    page.set_input_files("#clip", clip_file)
    expect(page.locator("#clip-error")).to_be_hidden()
    page.click("#submit")
    expect(page.locator("#transcript")).to_have_attribute("aria-invalid", "true")
    expect(page.locator("#transcript")).to_be_focused()
    accessible(page)
    assert not [url for url in visit.requests if url.endswith("/predict")]


def test_a_refusal_is_told_at_the_field_that_caused_it(
    browser: Browser, service: Service, tmp_path: Path
) -> None:
    no_clip = tmp_path / "notes.mp4"
    no_clip.write_text("this is no clip at all")
    with Visit(browser, f"http://127.0.0.1:{service.port}/") as visit:
        page = visit.ready().fill(no_clip, WORDS).submit().page
        problem = page.get_by_role("alert")
        expect(problem).to_contain_text("Undecodable clip")
        expect(problem).to_contain_text("undecodable_clip, request ")
        expect(page.locator("#clip")).to_be_focused()
        expect(page.locator("#clip")).to_have_attribute("aria-invalid", "true")
        expect(page.locator("#clip-error")).not_to_be_empty()
        accessible(page)
        # The browser itself notes each refused request.
        at_home(visit, but="status of 422")


def test_limits_are_told_before_and_after_the_upload(
    browser: Browser, tight: Service, clip_file: Path, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(bytes(5_000_000))
    with Visit(browser, f"http://127.0.0.1:{tight.port}/") as visit:
        page = visit.ready().fill(large, WORDS).submit().page
        expect(page.locator("#clip-error")).to_have_text(
            "The clip has 5.0 MB; this service takes 4.2 MB at most."
        )
        visit.fill(clip_file, "word " * 300).submit()
        expect(page.locator("#transcript-error")).to_contain_text("larger than 1024 bytes")


@contextmanager
def unloaded_service(**settings: Any) -> Iterator[uvicorn.Server]:
    """The service without its model, which is never loaded."""
    app = create_app(Settings(workers=1, **settings))
    config = uvicorn.Config(app, port=free_port(), lifespan="off", ws="none", log_level="critical")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def keyed() -> Iterator[int]:
    """Port of a service with a key and one request a minute."""
    with unloaded_service(api_keys="open-sesame", key_requests_per_minute=1) as server:
        yield server.config.port


def test_a_service_that_is_gone_is_told(browser: Browser, clip_file: Path) -> None:
    with unloaded_service() as server:
        visit = Visit(browser, f"http://127.0.0.1:{server.config.port}/")
        visit.fill(clip_file, WORDS)
    with visit:
        visit.submit()
        expect(visit.page.get_by_role("alert")).to_contain_text("could not be reached")
        expect(visit.page.locator("#state")).to_have_text("not reachable")


def test_keys_and_waiting(browser: Browser, keyed: int, clip_file: Path) -> None:
    with Visit(browser, f"http://127.0.0.1:{keyed}/") as visit:
        page = visit.page
        key = page.get_by_label("API key")
        expect(key).to_be_visible()
        expect(page.locator("#state")).to_have_text("loading the model …")
        visit.fill(clip_file, WORDS).submit()
        expect(key).to_be_focused()
        key.fill("wrong")
        visit.submit()
        expect(page.locator("#key-error")).to_contain_text("asks for an API key")
        key.fill("open-sesame")
        visit.submit()
        expect(page.get_by_role("alert")).to_contain_text("Not ready")
        visit.submit()
        expect(page.get_by_role("alert")).to_contain_text("Too often")
        expect(page.get_by_role("button", name="Try again")).to_have_text(
            re.compile(r"best in \d+ s")
        )
        accessible(page)
        assert page.evaluate("localStorage.length + sessionStorage.length") == 0
        at_home(visit, but="status of (401|429|503)")


def test_camera_and_microphone_are_recorded(visit: Visit) -> None:
    page = visit.page
    page.click("#record")
    expect(page.locator("#record-start")).to_be_focused()
    accessible(page)
    page.keyboard.press("Enter")
    expect(page.locator("#record-time")).to_contain_text("0:01.")
    page.click("#record-start")
    expect(page.locator("#clip-name")).to_have_text(re.compile(r"recording\.(webm|mp4)"))
    expect(page.locator("#recorder")).to_be_hidden()
    page.fill("#transcript", WORDS)
    visit.submit()
    seen = raw_answer(page)["seen"]
    assert seen["audio"]["present"]
    assert seen["video"]["frames"] > 5
    # A recording does not say how long it is, and can be played from anywhere all the same.
    page.get_by_role("slider").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile("^0:01.0"))
    until(page.locator(".player video"), "readyState >= 2")
    # The fake camera shows no face: the warning is there, with what to do.
    warning = page.get_by_role("list", name="Warnings")
    expect(warning).to_contain_text("No face was found")
    expect(warning).to_contain_text("face to the camera")


def test_sound_alone_has_a_player_without_a_picture(visit: Visit, tmp_path: Path) -> None:
    sound = tmp_path / "sound.mp4"
    sound.write_bytes(write_clip(samples=voice(1.5)))
    page = visit.fill(sound, WORDS).submit().page
    expect(page.locator(".player video")).to_have_class("sound")
    assert box(page, ".player video")["height"] < 80
    expect(page.locator(".lane")).to_have_count(1)
    expect(page.locator(".shares li")).to_have_count(2)
    expect(page.locator(".seen .absent")).to_have_text(re.compile("Face.*not considered"))


def test_the_curl_command_gives_the_same_answer(
    visit: Visit, service: Service, clip_file: Path
) -> None:
    if not shutil.which("curl"):
        pytest.skip("needs curl")
    words = 'it\'s "good", $HOME; `ls` @this <that>\nand a second line'
    page = visit.fill(clip_file, words).submit().page
    command = page.locator("pre >> nth=0").text_content() or ""
    ran = subprocess.run(
        ["sh", "-c", f"{command} --silent --fail-with-body"],
        cwd=clip_file.parent,
        capture_output=True,
        check=True,
    )
    told = json.loads(ran.stdout)
    assert told["raw_score"] == pytest.approx(raw_answer(page)["raw_score"], abs=1e-4)


def test_the_answer_can_be_copied(browser: Browser, service: Service, clip_file: Path) -> None:
    address = f"http://127.0.0.1:{service.port}/"
    rights = ["clipboard-read", "clipboard-write"]
    with Visit(browser, address, permissions=rights) as visit:
        page = visit.ready().fill(clip_file, WORDS).submit().page
        page.click("summary >> nth=1")
        page.get_by_role("button", name="Copy the answer").click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        assert json.loads(page.evaluate("navigator.clipboard.readText()")) == raw_answer(page)


def test_a_request_can_be_cancelled(visit: Visit, clip_file: Path) -> None:
    page = visit.page
    visit.fill(clip_file, WORDS)
    # Held back, so that there is time to change one's mind on any machine.
    page.route("**/predict", lambda route: None)
    page.click("#submit")
    page.click("#cancel")
    expect(page.locator("#progress")).to_be_hidden()
    page.unroute("**/predict")
    visit.submit()
    expect(page.locator(".hero")).to_be_visible()


@pytest.mark.parametrize(
    ("text", "kind", "captions"),
    [
        ("00:01.000 --> 00:02.000 is no file", ".txt", []),
        ("WEBVTT is the word", ".vtt", []),
        (
            "1\n00:00:01,500 --> 00:00:02,000\n{\\an8}Yes\nand no\n\n",
            ".srt",
            [[1.5, 2.0, "Yes and no"]],
        ),
        (
            CAPTIONS,
            ".vtt",
            [[0.0, 2.2, "This is really good."], [2.2, 4.4, "I hated every minute of it."]],
        ),
        ('[{"start": 1, "end": 2.5, "text": "Yes"}]', ".json", [[1, 2.5, "Yes"]]),
        ('[{"start": 1, "text": "Yes"}]', ".txt", []),
        ("[laughs] how {nice}", ".txt", []),
        (
            "WEBVTT\n\nid\n01:00:00.000 --> 01:00:01.000 align:left\nLate",
            ".vtt",
            [[3600, 3601, "Late"]],
        ),
    ],
)
def test_transcripts_are_told_apart(
    visit: Visit, text: str, kind: str, captions: list[Any]
) -> None:
    read = """async (text) => {
        const { kindOf, captionsOf } = await import("/page/transcript.js");
        const captions = captionsOf(text);
        return [kindOf(text), captions.map((c) => [c.start_seconds, c.end_seconds, c.text])];
    }"""
    assert visit.page.evaluate(read, text) == [kind, captions]
