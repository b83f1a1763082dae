"""The demo in headless Chromium, as somebody with a photo uses it. One server and one browser for all of it."""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from restore import images
from restore.archs.srvgg_arch import SRVGGNetCompact
from restore.archs.unet_arch import UNet
from restore.data.drawn import draw_face
from restore.weights import weights_bytes
from tests.lab import REPOSITORY, run_infer

pytestmark = pytest.mark.slow

WAIT = 40  # seconds at most, on a machine that is busy otherwise


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two tiny models, a photo, and a text that is called a picture."""
    root = tmp_path_factory.mktemp("demo")
    torch.manual_seed(0)
    sr = {"type": "SRVGGNetCompact", "num_feat": 8, "num_conv": 1, "upscale": 2}
    network = SRVGGNetCompact(num_feat=8, num_conv=1, upscale=2)
    (root / "sharp.safetensors").write_bytes(weights_bytes(network, {"arch": sr, "scale": 2}))
    facts = {
        "arch": {"type": "UNet", "num_feat": 4, "num_level": 2},
        "scale": 1,
        "task": {"type": "Inpainting"},
        "size": 64,
    }
    (root / "whole.safetensors").write_bytes(weights_bytes(UNet(num_feat=4, num_level=2), facts))
    images.write(root / "aunt.png", draw_face(0, 3, 256).image)
    (root / "bad.png").write_text("no picture\n" * 20)
    return root


@pytest.fixture(scope="module")
def server(folder):
    """The real command, in a process of its own: its address, and the folder that it keeps visits in."""
    pytest.importorskip("gradio", reason="no gradio; pip install 'restore-faces[demo]'")
    models = ["--model", str(folder / "sharp.safetensors"), "--model", str(folder / "whole.safetensors")]
    (folder / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-m", "restore", "demo", "--port", "0", "--max_mb", "2", *models]
    with subprocess.Popen(command, env=environment, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        yield address[0], next((folder / "tmp").glob("restore-demo-*"))
        process.terminate()
        assert "deleted" in process.stdout.read()
        assert process.wait() == 0
    assert list((folder / "tmp").glob("restore-demo-*")) == []


@pytest.fixture(scope="module")
def browser(folder):
    """Chromium without a window, that saves downloads in `folder`."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="no selenium; pip install selenium")
    program, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("no chromium and chromedriver; apt install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1200,1800"):
        options.add_argument(f"--{argument}")
    options.add_experimental_option("prefs", {"download.default_directory": str(folder / "downloads")})
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield running
    running.quit()


class Visitor:
    """Somebody at the page."""

    def __init__(self, browser, address: str) -> None:
        self.browser, self.address = browser, address

    def arrive(self) -> None:
        self.browser.get(self.address)
        self.until(lambda: self.see("#sharpen"), "the page")

    def see(self, css: str):
        """The first thing of that kind that is shown; None: there is none."""
        return next((found for found in self.browser.find_elements("css selector", css) if found.is_displayed()), None)

    def until(self, wanted: Callable[[], object], what: str):
        end = time.monotonic() + WAIT
        heard = ""
        while time.monotonic() < end:
            if found := wanted():
                return found
            heard = self.told() or heard  # it goes after ten seconds
            time.sleep(0.1)
        pytest.fail(f"waited {WAIT} s in vain for {what}; the page says: {heard}")

    def choose(self, path: Path, where: str = "#photo") -> None:
        find = f"{where} input[type=file]"
        self.until(lambda: self.browser.find_elements("css selector", find), "a place for files")[0].send_keys(
            str(path)
        )

    def click(self, css: str) -> None:
        self.until(lambda: self.see(css), css).click()

    def tab(self, name: str) -> None:
        tabs = self.browser.find_elements("css selector", "button[role=tab]")
        next(each for each in tabs if each.text == name and each.is_displayed()).click()

    def told(self) -> str:
        """What the page complains about."""
        return " ".join(each.text for each in self.browser.find_elements("css selector", ".toast-body"))

    def address_of(self, gallery: str, number: int) -> str:
        """Of the file that is the gallery's picture of that number, from 0."""
        find = f"{gallery} .thumbnail-item img"
        shown = self.until(lambda: self.browser.find_elements("css selector", find)[number:], f"{gallery}'s pictures")
        return str(shown[0].get_attribute("src"))

    def picture(self, gallery: str, number: int) -> np.ndarray:
        """The pixels of that picture."""
        script = "return fetch(arguments[0]).then(r => r.arrayBuffer()).then(b => Array.from(new Uint8Array(b)))"
        return np.asarray(
            Pillow.open(io.BytesIO(bytes(self.browser.execute_script(script, self.address_of(gallery, number)))))
        )


@pytest.fixture(scope="module")
def visitor(server, browser) -> Visitor:
    """Somebody who has come to the page."""
    someone = Visitor(browser, server[0])
    someone.arrive()
    return someone


def files_of(server) -> list[Path]:
    while True:
        try:
            return [path for path in server[1].rglob("*") if path.is_file()]
        except FileNotFoundError:  # a folder was deleted while it was looked through
            continue


def test_a_text_that_is_called_a_picture_is_told(visitor, folder, server):
    visitor.choose(folder / "bad.png")
    told = visitor.until(visitor.told, "a message")
    assert "bad.png: no picture" in told
    assert str(server[1]) not in told
    visitor.click(".toast-close")


def test_too_large_a_file_is_told(visitor, folder):
    (folder / "large.png").write_bytes(bytes(3_000_000))
    visitor.until(lambda: not visitor.told(), "the message to go")
    visitor.choose(folder / "large.png")
    assert "maximum" in visitor.until(visitor.told, "a message")
    visitor.click(".toast-close")


def test_a_photo_becomes_what_the_command_makes_of_it(visitor, folder, server):
    visitor.choose(folder / "aunt.png")
    visitor.until(lambda: visitor.see("#photo img"), "the photo")
    visitor.click("#sharpen")
    visitor.until(lambda: visitor.see("#sr_download"), "the result")
    shown = visitor.picture("#sr_gallery", 2)
    run_infer(folder / "aunt.png", "--model", folder / "sharp.safetensors", "--outscale", 2, "-o", folder / "out")
    assert np.array_equal(shown, images.read(folder / "out" / "aunt.png"))


def test_the_slider_moves(visitor):
    slider = visitor.until(lambda: visitor.see("#sr_slider img"), "the slider")
    handle = visitor.until(lambda: visitor.see("#sr_slider .outer"), "its handle")
    from selenium.webdriver import ActionChains

    before = handle.rect["x"]
    visitor.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", slider)
    inner = visitor.see("#sr_slider .outer .inner") or handle
    ActionChains(visitor.browser).click_and_hold(inner).move_by_offset(-120, 0).release().perform()
    visitor.until(lambda: visitor.see("#sr_slider .outer").rect["x"] < before - 80, "the slider to move")


def test_the_result_can_be_taken_home(visitor, folder):
    visitor.click("#sr_download")
    saved = folder / "downloads" / "aunt_restored.png"
    visitor.until(saved.exists, "the download")
    assert np.array_equal(images.read(saved), images.read(folder / "out" / "aunt.png"))


def test_what_is_painted_over_is_rebuilt_and_nothing_else(visitor, folder):
    from selenium.webdriver import ActionChains

    visitor.tab("Unmask")
    assert "What is under a mask is invented" in visitor.until(lambda: visitor.see("#invented"), "the warning").text
    ways = [each.text for each in visitor.browser.find_elements("css selector", "#way label") if each.text]
    painted = next(way for way in ways if "paint" in way)
    next(each for each in visitor.browser.find_elements("css selector", "#way label") if each.text == painted).click()
    canvas = visitor.until(lambda: visitor.see("#canvas canvas"), "the canvas")
    visitor.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    time.sleep(1)  # the photo is laid on the canvas
    pen = ActionChains(visitor.browser).move_to_element_with_offset(canvas, -20, 10).click_and_hold()
    for _ in range(10):
        pen = pen.move_by_offset(5, 0)
    pen.release().perform()
    time.sleep(0.5)
    choose_model(visitor, "whole")
    visitor.click("#rebuild")
    visitor.until(lambda: visitor.see("#unmask_download"), "the result")
    result = visitor.picture("#unmask_gallery", 1)
    before = images.read(folder / "aunt.png")
    changed = (result != before).any(2)
    assert 0.005 < changed.mean() < 0.3
    rows, columns = np.where(changed)
    assert 90 < rows.mean() < 170  # where the pen was: about the middle
    assert 90 < columns.mean() < 190


def choose_model(visitor: Visitor, name: str) -> None:
    """The tiny one, whatever ships."""
    box = visitor.until(lambda: visitor.see("#unmask_model input"), "the models")
    if box.get_attribute("value") != name:
        box.click()
        visitor.until(lambda: visitor.see(f"ul[role=listbox] li[aria-label='{name}']"), name).click()


def test_an_occlusion_is_shown_with_its_mask(visitor):
    visitor.tab("Occlusions")
    visitor.click("#occlude")
    visitor.until(lambda: visitor.see("#occlusion_gallery img"), "the preview")
    mask = visitor.picture("#occlusion_gallery", 1)
    assert set(np.unique(mask)) == {0, 255}


def test_keys_alone_reach_and_press_a_button(visitor):
    from selenium.webdriver import Keys

    button = visitor.until(lambda: visitor.see("#occlude"), "the button")
    before = visitor.address_of("#occlusion_gallery", 0)
    number = visitor.see("input[type=number]")
    number.send_keys(Keys.END, "7")
    focused = "return document.activeElement.id || document.activeElement.closest('[id]')?.id"
    for _ in range(5):
        if visitor.browser.execute_script(focused) == button.get_attribute("id"):
            break
        visitor.browser.switch_to.active_element.send_keys(Keys.TAB)
    visitor.browser.switch_to.active_element.send_keys(Keys.ENTER)
    visitor.until(lambda: visitor.address_of("#occlusion_gallery", 0) != before, "another preview")


def test_a_phone_is_wide_enough(visitor, folder):
    phone = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    visitor.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
    visitor.tab("Super-resolution")
    try:
        width = visitor.until(lambda: visitor.browser.execute_script("return document.documentElement.scrollWidth"), "")
        assert width <= 390
        assert visitor.see("#sharpen").rect["width"] > 300
        visitor.browser.save_screenshot(str(folder / "phone.png"))
    finally:
        visitor.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_no_other_host_was_asked_for_anything(visitor):
    entries = [json.loads(entry["message"])["message"] for entry in visitor.browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in entries if e["method"] == "Network.requestWillBeSent"]
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith((visitor.address, "data:", "blob:"))] == []


def test_files_are_gone_when_the_page_is_left(visitor, server):
    results = [path for path in files_of(server) if path.name == "aunt_restored.png"]
    assert results
    visitor.browser.get("about:blank")
    visitor.until(lambda: not [path for path in files_of(server) if "aunt" in path.name], "the files to go")
