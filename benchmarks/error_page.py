"""How large the page of errors is, or that for review, and how long a browser takes over it.

In: a crawl.db with an experiment, which --apply has filed with for the page for review. Out, on
stdout: for each number of products the size of the page, and milliseconds in headless Chromium until it shows something (`paint`; of a page with one word it
is printed too), until its controls work (`ready`) and until all of it is there (`whole`), then to
filter by a badge, to search, to sort and to move the slider, each to the next frame, median of
--rounds. The page for review has a step that opens the list of categories, and no slider.

    python benchmarks/error_page.py --experiment 1
    python benchmarks/error_page.py --experiment 1 --review --top 2000
    python benchmarks/error_page.py --experiment 1 --top 500,5000 --rounds 9
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TIMED = """async ([name, value, event]) => {
    const control = document.getElementById(name), began = performance.now();
    control.value = value;
    control.dispatchEvent(new Event(event));
    if (name === "search") await new Promise((done) => setTimeout(done, 80));   // what it waits for
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - began - (name === "search" ? 80 : 0);
}"""
ACTIONS = {
    "filter": ("badge", "same parent", "change"),
    "search": ("search", "black", "input"),
    "sort": ("order", "name", "change"),
    "slider": ("threshold", "10", "input"),
}
REVIEW = {"search": ("search", "black", "input"), "sort": ("order", "name", "change")}
PICKED = """async () => {
    const field = document.querySelector(".where"), began = performance.now();
    field.focus();
    field.value = "s";
    field.dispatchEvent(new Event("input", {bubbles: true}));
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - began;
}"""


def opened(browser, path):
    """(tab with the page, milliseconds to its first paint, to working controls, to all of it)."""
    tab = browser.new_page()
    tab.goto(path.as_uri())
    while not tab.evaluate("performance.getEntriesByName('first-contentful-paint').length"):
        tab.wait_for_timeout(20)
    return tab, *tab.evaluate("""[
        performance.getEntriesByName('first-contentful-paint')[0].startTime,
        performance.getEntriesByName('ready')[0]?.startTime ?? 0,
        performance.getEntriesByType('navigation')[0].loadEventEnd]""")


def make_page(args, top, path):
    """Have analyze.py write a page of `top` products."""
    subprocess.run(
        [
            sys.executable,
            ROOT / "analyze.py",
            "--db-path",
            args.db_path,
            "--images-path",
            args.images_path,
            "--review" if args.review else "--dump-errors-for-experiment",
            str(args.experiment),
            "--top",
            top,
            "-o",
            path,
        ],
        check=True,
    )


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiment", type=int, required=True, metavar="N")
    parser.add_argument("--review", action="store_true", help="the page for review")
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument("--images-path", default="images", metavar="DIR")
    parser.add_argument("--top", default="500,5000", metavar="K,K", help="(default: 500,5000)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: 5)")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    from playwright.sync_api import sync_playwright

    actions = REVIEW if args.review else ACTIONS
    names = [*actions, "category"] if args.review else list(ACTIONS)
    print("| products | size | made in | paint | ready | whole | " + " | ".join(names) + " |")
    print("|---|" + "---|" * (5 + len(names)), flush=True)
    with sync_playwright() as playwright, tempfile.TemporaryDirectory() as folder:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        word = Path(folder) / "word.html"
        word.write_text("<!doctype html><title>word</title><p>word")
        times = [opened(browser, word)[1:] for _ in range(args.rounds)]
        print(
            "| a word | | | "
            + " | ".join(f"{statistics.median(some):.0f} ms" for some in zip(*times))
            + " |"
            + " |" * len(names)
        )
        for top in args.top.split(","):
            path, began = Path(folder) / f"{top}.html", time.monotonic()
            make_page(args, top, path)
            made, times = (
                time.monotonic() - began,
                {name: [] for name in ("paint", "ready", "whole", *names)},
            )
            count = path.read_text(encoding="utf-8").count("<article")
            for _ in range(args.rounds):
                tab, *opening = opened(browser, path)
                for name, one in zip(("paint", "ready", "whole"), opening):
                    times[name].append(one)
                while tab.locator(".product").count() < count:  # the rest of a long page
                    tab.wait_for_timeout(50)
                if args.review:
                    times["category"].append(tab.evaluate(PICKED))
                for name, action in actions.items():
                    times[name].append(tab.evaluate(TIMED, action))
                tab.close()
            print(
                f"| {count:,} | {path.stat().st_size / 1e6:.1f} MB | {made:.1f} s | "
                + " | ".join(f"{statistics.median(some):.0f} ms" for some in times.values())
                + " |",
                flush=True,
            )
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
