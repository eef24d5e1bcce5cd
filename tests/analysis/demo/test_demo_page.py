"""demo.html in a real headless Chromium, with the runtime of the npm package: it answers as the
package does, sends nothing anywhere, and says what it lacks."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images
from support.web.browser import Opened, needs_browser
from support.web.onnxruntime_web import served, unpack_runtime

from analysis.demo.onnxruntime_web import BINARY, FETCH, FOLDER, SCRIPT, SERVE
from analysis.demo.page import TEMPLATES
from analysis.packages.compress import compress
from analysis.packages.compression_plan import Plan
from analysis.packages.package import check_package, read_package
from analysis.packages.package_files import DEMO, ONNX, SUMS, check_out
from analysis.packages.train import train_and_save
from analysis.packages.weights import load_network
from analysis.report.page import TEMPLATES as OF_REPORT
from vgg6.common.checks import InputError
from vgg6.config import TrialConfig
from vgg6.data import Reading, data_facts, load_source, split
from vgg6.data.picture_formats import decode

pytestmark = pytest.mark.slow
DIGIT = "digit <img src=x onerror='window.broken=1'>"  # a class may have any name
CLASSES = ("china", DIGIT, "flower")
SIDE = 16
READING = Reading(image_size=SIDE)
# How far a probability may be from the package's own. Another decoder may round a picture of a
# lossy format by a level or two of 255.
TOLERANCE = {".png": 1e-5, ".jpg": 0.02}
ANSWER = """() => [...document.querySelectorAll('#rows tr')].map(row => [...row.cells].slice(0, 2)
    .map(cell => cell.textContent))"""
PIXELS = f"""() => [...document.getElementById('seen').getContext('2d')
    .getImageData(0, 0, {SIDE}, {SIDE}).data]"""
DONE = """() => !document.getElementById('answer').hidden
    || document.getElementById('status').textContent.includes('no picture')"""


def write_set(folder: Path) -> None:
    """Real pictures, with parts of their own: handwritten digits, and pieces of two photographs."""
    photographs = dict(zip(("china", "flower"), load_sample_images().images, strict=True))
    digits = (load_digits().images * 15.9).astype(np.uint8)
    draw = np.random.default_rng(0)
    for part, count in (("train", 24), ("val", 6), ("test", 3)):
        for name in CLASSES:
            (folder / part / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(digits[draw.integers(len(digits))]).save(
                folder / part / DIGIT / f"{i}.png"
            )
            for name, photograph in photographs.items():
                top, left = draw.integers(0, 427 - 140), draw.integers(0, 640 - 170)
                piece = Image.fromarray(photograph[top : top + 140, left : left + 170])
                piece.save(folder / part / name / f"{i}.{'jpg' if i % 2 else 'png'}", quality=90)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the pictures, and a package of a network that was trained on them."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        write_set(folder / "set")
        source = load_source(str(folder / "set"), READING)
        data = split(source)
        cut: dict[str, Any] = {"split_seed": 42, "limit_train": None}
        train_and_save(
            TrialConfig(epochs=4, width=0.25, batch_size=8, optimizer="adam", lr=0.002), data,
            out=folder / "packed",
            data_facts=data_facts(str(folder / "set"), source, data, how=READING, **cut),
            device="cpu", precision="fp32", kernels="torch", threads=1, stop_after=None, demo=True,
        )  # fmt: skip
        yield folder


@pytest.fixture(scope="module")
def package(made: Path) -> Path:
    unpack_runtime(made / "packed")
    return made / "packed"


@pytest.fixture(scope="module")
def address(package: Path) -> Iterator[str]:
    with served(package) as found:
        yield found + DEMO


@pytest.fixture(scope="module")
def opened(browser: Any, address: str) -> Iterator[Opened]:
    found = Opened(browser, address, accept_downloads=False)
    yield found
    found.page.close()


def give(opened: Opened, file: Path | dict[str, Any]) -> None:
    """Choose a picture, and wait for what the page says of it."""
    opened.page.click("#clear", force=True) if opened.page.is_enabled("#clear") else None
    opened.page.set_input_files("#file", file)
    opened.page.wait_for_function(DONE)


def seen(opened: Opened) -> Any:
    """The pixels that the network was given, as the page shows them: (S, S, 3)."""
    flat = np.array(opened.page.evaluate(PIXELS), np.uint8)
    return flat.reshape(SIDE, SIDE, 4)[..., :3]


def probabilities(network: Any, pixels: Any) -> Any:
    logits = network(pixels[None])[0].astype(float)
    parts = np.exp(logits - logits.max())
    return parts / parts.sum()


@needs_browser
def test_its_answers_are_the_packages_own_on_all_validation_pictures(
    made: Path, package: Path, opened: Opened
) -> None:
    network = load_network(package, read_package(package))
    files = sorted(f for f in (made / "set" / "val").rglob("*") if f.is_file())
    right = 0
    assert len(files) == 18
    for file in files:
        give(opened, file)
        rows = dict(opened.page.evaluate(ANSWER))
        expected = probabilities(network, decode(file.read_bytes(), SIDE).pixels)
        assert set(rows) == set(CLASSES)
        assert next(iter(rows)) == CLASSES[expected.argmax()], file
        shown = [rows[name].removesuffix("%") for name in CLASSES]
        for text, share in zip(shown, expected, strict=True):
            exact = 0.0005 if text.startswith("<") else float(text) / 100
            # Shown to a tenth of a percent.
            assert exact == pytest.approx(share, abs=TOLERANCE[file.suffix] + 0.00051), file
        right += next(iter(rows)) == file.parent.name
    assert right > 9, (
        "the network has learnt something, so that a wrong order of colours would show"
    )
    assert opened.complaints == []
    assert opened.page.evaluate("window.broken") is None


def png(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def odd_pictures() -> dict[str, tuple[bytes, float]]:
    """Pictures of many kinds; by how many levels of 255 the page may differ, at most on average."""
    china, flower = map(Image.fromarray, load_sample_images().images)
    draw = np.random.default_rng(1)
    noise = Image.fromarray(draw.integers(0, 256, (37, 53, 4), dtype=np.uint8), "RGBA")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray((np.asarray(china.convert("L")).astype(np.uint16)) * 257)
    return {
        "smaller": (png(china), 0),
        "larger": (png(flower.resize((9, 5))), 0),
        "as it is": (png(flower.resize((SIDE, SIDE))), 0),
        "grey": (png(china.convert("L")), 0),
        "palette": (png(china.quantize(40)), 0),
        "alpha": (png(noise), 0.5),
        "bmp": (png(flower, "BMP"), 0),
        "gif": (
            png(china.quantize(64), "GIF", save_all=True, append_images=[flower.quantize(64)]),
            0,
        ),
        "webp": (png(china, "WEBP", quality=80), 0.5),
        "16 bits": (png(deep), 0.5),
        "photograph": (png(china, "JPEG", quality=92), 0.5),
        "turned": (png(flower, "JPEG", quality=92, exif=turned), 1),
        "large": (png(flower.resize((1280, 856)), "JPEG", quality=92), 0.5),
        "cmyk": (png(china.convert("CMYK"), "JPEG", quality=92), 3),
    }


@needs_browser
def test_its_pixels_are_those_that_training_would_see(opened: Opened) -> None:
    for name, (content, most) in odd_pictures().items():
        give(opened, {"name": name, "mimeType": "image/png", "buffer": content})
        expected = decode(content, SIDE).pixels.astype(int)
        difference = np.abs(seen(opened).astype(int) - expected)
        print(name, difference.mean(), difference.max())
        assert difference.mean() <= most, name


def transfer(opened: Opened, file: Path, kind: str) -> None:
    """Drop or paste a file, as a browser says it."""
    content = base64.b64encode(file.read_bytes()).decode()
    opened.page.evaluate(
        """([content, name, kind]) => {
            const bytes = Uint8Array.from(atob(content), (c) => c.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name, { type: 'image/png' }));
            const event = kind === 'drop'
                ? new DragEvent('drop', { dataTransfer: carried, bubbles: true, cancelable: true })
                : new ClipboardEvent('paste', { clipboardData: carried, bubbles: true });
            document.getElementById('drop').dispatchEvent(event);
        }""",
        [content, file.name, kind],
    )
    opened.page.wait_for_function(DONE)


@needs_browser
def test_a_picture_is_dropped_pasted_or_chosen_with_the_keyboard(
    made: Path, browser: Any, address: str
) -> None:
    opened = Opened(browser, address)
    page, file = opened.page, made / "set" / "val" / "flower" / "0.png"
    for kind in ("drop", "paste"):
        transfer(opened, file, kind)
        assert page.locator("#name").inner_text() == "0.png" and len(page.evaluate(ANSWER)) == 3
        page.click("#clear")
        assert page.locator("#answer").is_hidden()
        assert page.evaluate("document.activeElement.id") == "file"
    page.focus("#theme")
    order = []
    for _ in range(3):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.id"))
    assert order[:2] == ["file", "most"] and order[2] != "clear", "there is nothing to clear"
    before = page.evaluate("document.documentElement.dataset.theme")
    page.focus("#theme")
    page.keyboard.press("Enter")
    assert page.evaluate("document.documentElement.dataset.theme") != before
    with page.expect_file_chooser() as asked:
        page.focus("#file")
        page.keyboard.press("Enter")
    asked.value.set_files(file)
    page.wait_for_function(DONE)
    page.focus("#most")
    page.keyboard.press("Home")
    assert page.input_value("#most") == "3"
    give(opened, {"name": "notes.txt", "mimeType": "text/plain", "buffer": b"no picture"})
    assert page.locator("#answer").is_hidden()
    said = page.locator("#status").inner_text()
    assert said == "notes.txt is no picture that this browser can read."
    home = address.removesuffix(DEMO)
    assert all(url.startswith((home, "blob:", "data:")) for url in opened.requests), opened.requests
    assert opened.complaints == []
    page.close()


@needs_browser
def test_it_can_send_a_picture_nowhere(made: Path, opened: Opened) -> None:
    """Its content security policy forbids what a script might try at a server that would answer."""
    tried = """async (url) => {
        const image = new Image();
        const failed = new Promise((done) => {
            image.onerror = () => done(true);
            image.onload = () => done(false);
        });
        image.src = url;
        const refused = fetch(url, { mode: 'no-cors' }).then(() => false, () => true);
        return [await failed, await refused, (() => {
            try { eval('1'); return false; } catch { return true; }
        })()];
    }"""
    before = len(opened.complaints)
    with served(made / "set" / "val" / "china") as elsewhere:
        assert opened.page.evaluate(tried, f"{elsewhere}0.png") == [True, True, True]
    del opened.complaints[before:]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_a_phone_and_follows_the_systems_theme(
    made: Path, browser: Any, address: str, width: int, scheme: str
) -> None:
    opened = Opened(browser, address, width=width, color_scheme=scheme)
    give(opened, made / "set" / "val" / "china" / "1.jpg")
    page = opened.page
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")
    page.close()


def test_its_colours_are_those_of_the_report_whose_contrasts_are_computed() -> None:
    def roots(file: Path) -> list[str]:
        return re.findall(r"^:root.*$", file.read_text(), re.MULTILINE)

    assert roots(TEMPLATES / "demo.css") == roots(OF_REPORT / "page.css")[:2]


@needs_browser
def test_it_says_what_it_lacks_and_the_command_that_gets_it(
    made: Path, package: Path, browser: Any, tmp_path: Path
) -> None:
    def said(address: str, folder: Path | None = None) -> str:
        page = Opened(browser, address).page
        assert page.locator("#ask").is_hidden() and page.locator("#status").inner_text() == ""
        text = str(page.locator("#problem").inner_text())
        assert text == page.locator("[role=alert]").inner_text()
        page.close()
        return text

    def altered(name: str, content: bytes | None) -> str:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(package, folder)
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)
        with served(folder) as address:
            return said(address + DEMO)

    assert SERVE in said((package / DEMO).as_uri())
    without = altered(f"{FOLDER}/{SCRIPT}", None)
    assert "Fetch the runtime" in without and FETCH in without
    for file, content in ((BINARY, b"\0asm"), (SCRIPT, b"export const env = { wasm: {} };")):
        assert "Another runtime" in altered(f"{FOLDER}/{file}", content)
    other = (package / ONNX).read_bytes()[:-1]
    assert "Another network" in altered(ONNX, other)


@needs_browser
def test_an_int8_network_of_a_package_with_a_page_has_one_too(
    made: Path, package: Path, browser: Any
) -> None:
    small = made / "small"
    compress(package, small, Plan(methods=["int8"], rounds=1))
    check_package(small)
    shutil.copytree(package / FOLDER, small / FOLDER)
    network = load_network(small, read_package(small))
    file = made / "set" / "val" / "china" / "0.png"
    with served(small) as address:
        opened = Opened(browser, address + DEMO)
        give(opened, file)
        (first, share), *_ = opened.page.evaluate(ANSWER)
        opened.page.close()
    expected = probabilities(network, decode(file.read_bytes(), SIDE).pixels)
    assert first == CLASSES[expected.argmax()]
    # int8 arithmetic rounds differently from one CPU's instructions to another's.
    assert float(share.removesuffix("%")) / 100 == pytest.approx(expected.max(), abs=0.05)


def test_the_page_is_checked_as_the_other_files_are(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(made / "packed", folder)
    check_package(folder)
    assert f"  {DEMO}\n" in (folder / SUMS).read_text()
    assert f"| `{DEMO}` |" in (folder / "README.md").read_text()
    (folder / FOLDER).mkdir(exist_ok=True)
    check_package(folder)
    check_out(folder)  # may be replaced, its runtime included
    page = (folder / DEMO).read_text()
    (folder / DEMO).write_text(page + " ")
    with pytest.raises(InputError, match=f"{DEMO}.* has been altered"):
        check_package(folder)
    (folder / DEMO).unlink()
    with pytest.raises(InputError, match=f"{DEMO}.* is missing"):
        check_package(folder)
    sums = (folder / SUMS).read_text().splitlines(keepends=True)
    (folder / SUMS).write_text("".join(line for line in sums if DEMO not in line))
    check_package(folder)  # a package without a page
    (folder / DEMO).write_text(page)
    with pytest.raises(InputError, match=f"does not list {DEMO}"):
        check_package(folder)


def test_no_text_of_a_package_is_markup_in_the_page(made: Path) -> None:
    page = (made / "packed" / DEMO).read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page
    facts = re.search(r'<script type="application/json" id="facts">(.*?)</script>', page, re.S)
    assert facts and tuple(json.loads(facts[1])["classes"]) == CLASSES
