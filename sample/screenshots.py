"""The pictures of pages in docs/: report.png, audit.png and review.png, of the invented catalogue.

In: nothing; Playwright and Chromium are needed (requirements-test.txt). Out: the three files. They
differ a little from one machine to another, as fonts and figures do.

    python sample/screenshots.py
    python sample/screenshots.py --folder somewhere-else
"""

import argparse
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from sample.catalogue import make_catalogue  # noqa: E402  (run from whatever folder)
from sample.tables import LEAVES, PER_LEAF, SEED, make_tables  # noqa: E402

COMMANDS = (  # those of README, and the pages
    "crawl.py --feed products.tsv",
    "categorize_words.py --min-products 5 --folds 10",
    "crawl.py --feed new-products.tsv --unlabelled",
    "categorize_words.py --apply 1 --target 95",
    "analyze.py --dump-errors-for-experiment 1 -o report.html",
    "analyze.py --audit 1 -o audit.html",
    "analyze.py --review 1 -o review.html",
)
# What a person does on each page before its picture is taken: keys, and texts that are typed.
DONE = {
    "report": (),
    "audit": ("y", "y", "y", "n", "=s"),
    "review": ("Enter", "Enter", "2", "Enter", "c", "=bag"),
}
SIZES = {"report": (1100, 860), "audit": (1366, 740), "review": (1366, 740)}


def write_shop(folder):
    """The catalogue files of sample/tables.py with a drawn picture of each product."""
    (folder / "pictures").mkdir()
    products = make_catalogue(156, PER_LEAF, SEED).products
    shown = [product for product in products if product.categories[0] in LEAVES]
    for number, product in enumerate(shown, 1):
        if picture := product.picture():
            (folder / "pictures" / f"{number:04}.jpg").write_bytes(picture)
    for name, text in make_tables().items():
        head, *rows = text.splitlines()
        rows = [f"{row}\tpictures/{row[:4]}.jpg" for row in rows]
        (folder / name).write_text("\n".join([f"{head}\timage_link", *rows, ""]), encoding="utf-8")


def take_picture(tab, page, name):
    """PNG bytes of a page, after what DONE says. The page of errors is shown from its slider on."""
    tab.set_viewport_size(dict(zip(("width", "height"), SIZES[name])))
    tab.goto(page.as_uri())
    for key in DONE[name]:
        if key.startswith("="):
            tab.keyboard.type(key[1:])
        else:
            tab.keyboard.press(key)
    if name == "report":
        tab.evaluate("scrollTo(0, document.getElementById('bar').offsetTop)")
    tab.wait_for_timeout(300)
    return tab.screenshot()


def save_small(data, path):
    """Write a picture with 128 colours, which is a third as large."""
    from PIL import Image

    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").quantize(128).save(path, optimize=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "docs", metavar="DIR", help="where to write them"
    )
    folder = parser.parse_args(argv).folder
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as work:
        work = Path(work)
        write_shop(work)
        for command in COMMANDS:
            script, *flags = command.split()
            subprocess.run([sys.executable, ROOT / script, *flags], cwd=work, check=True)
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            tab = browser.new_page()
            for name in SIZES:
                data = take_picture(tab, work / f"{name}.html", name)
                save_small(data, folder / f"{name}.png")
            browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
