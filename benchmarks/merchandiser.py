"""From a load to the shop as a merchandiser does it, in a real browser, against hidden labels.

In: a catalogue file in Google Merchant form with `product_type`. Some products lose their category;
the others are loaded and trained on by their words. The new ones are filed, a sample is audited, a
part of the rest is reviewed, all is exported for Shopify, and that file is loaded into a second
database. On both pages a person is played who knows the hidden labels: all by keyboard, typing a
leaf's name to find it, and a click on save. Out, on stdout: seconds of each command, keys, clicks
and an estimate of minutes for each page, and how much is right by the hidden labels.

The estimate is the keystroke-level model (Card, Moran and Newell, Communications of the ACM 23,
1980: 0.28 s a key, 1.2 s a click, 1.35 s to make up one's mind before typing) and --look seconds
for each product, which is a guess.

    python benchmarks/merchandiser.py --feed products.tsv
    python benchmarks/merchandiser.py --feed products.tsv --labelled 3000 --floor 0
"""

import argparse
import csv
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NOT_SURE = 30  # the person answers ? to every so-manieth product of the audit
UNDO = 10  # and takes the decision back on every so-manieth product of the review
CURRENT = """() => {
    const row = document.querySelector(".product[aria-current]");
    const text = (part) => part?.textContent.trim().replaceAll(/\\s+/g, " ") ?? "";
    return row && {id: row.dataset.external, filed: text(row.querySelector(".filed")),
        choices: [...row.querySelectorAll("[data-key]")].filter((one) => one.querySelector(".leaf"))
            .map((one) => [text(one.querySelector(".above")) + " " + text(one.querySelector(".leaf")),
                one.dataset.key, "proposed" in one.dataset])};
}"""
OPTIONS = """() => [...document.querySelectorAll(".picker:not([hidden]) [role=option]")].map(
    (option) => option.textContent)"""


class Person:
    """Somebody at a page who knows the hidden labels; counts what the hands do."""

    def __init__(self, tab, labels):
        self.tab, self.labels = tab, labels
        self.products = self.keys = self.clicks = self.typed = self.proposed = 0

    def press(self, *keys):
        for key in keys:
            self.tab.keyboard.press(key)
            self.keys += 1

    def name(self, category):
        """Find a category in the field that has the focus by the words of its leaf, and take it."""
        self.typed += 1
        *_, above, leaf = ["", *category.split(" > ")]
        for text in (leaf.lower(), f" {above.lower()}"):
            self.tab.keyboard.type(text)
            self.keys += len(text)
            options = self.tab.evaluate(OPTIONS)
            if category in options:
                self.press(*["ArrowDown"] * options.index(category), "Enter")
                return
        self.proposed += 1
        self.press("Control+a")  # the list has it not, because too few products are labelled so
        self.tab.keyboard.type(category)
        self.keys += len(category)
        self.press("Enter", "Enter")

    def answer(self, product, turn):
        """Answer a product of the audit."""
        label, filed = self.labels[product["id"]], product["filed"]
        below = filed.removeprefix("somewhere below ")
        right = label.startswith(f"{below} > ") if below != filed else label == filed
        if turn % NOT_SURE == 0:
            self.press("?")
        elif right:
            self.press("y")
        else:
            self.press("n")
            self.name(label)

    def choose(self, product, turn):
        """Choose a category for a product of the review."""
        label = self.labels[product["id"]]
        fits = [choice for choice in product["choices"] if choice[0] == label]
        if fits and fits[0][2]:
            self.press("Enter")
        elif fits:
            self.press(fits[0][1])
        else:
            self.press("c")
            self.name(label)
        if turn % UNDO == 0:
            self.press("u")
            self.choose(product, 1)

    def work(self, decide, path):
        """Decide on each product of the page, and save the file."""
        count = int(self.tab.inner_text("#marked").split(" of ")[1].split()[0])
        for turn in range(1, count + 1):
            decide(self.tab.evaluate(CURRENT), turn)
        if not self.tab.inner_text("#marked").startswith(f"{count} of {count} "):
            raise SystemExit(f"merchandiser.py: {self.tab.inner_text('#marked')}")
        with self.tab.expect_download() as download:
            self.tab.click("#save")
        self.clicks += 1
        download.value.save_as(path)
        self.products = count

    def minutes(self, look):
        seconds = 0.28 * self.keys + 1.2 * self.clicks + 1.35 * self.typed + look * self.products
        return seconds / 60


def run(folder, script, *flags):
    """Run a script in the folder, and print how long it took. Returns what it printed."""
    began = time.monotonic()
    command = [sys.executable, ROOT / f"{script}.py", *map(str, flags)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    print(f"| `{script}.py {' '.join(map(str, flags))}` | {time.monotonic() - began:.0f} s |")
    return done.stdout


def write_feeds(source, folder, new, labelled, seed):
    """Write labelled.tsv and new.tsv, with links to the pictures. Returns {id: hidden label}."""
    with open(source, encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    random.Random(seed).shuffle(rows)
    label, picture = head.index("product_type"), head.index("image_link")
    hidden = {row[head.index("id")]: row[label] for row in rows[:new]}
    for row in rows[: new + labelled]:
        if row[picture]:
            (folder / row[picture]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source.parent / row[picture], folder / row[picture])
    for row in rows[:new]:
        row[label] = ""
    for name, part in (("new", rows[:new]), ("labelled", rows[new : new + labelled])):
        lines = ["\t".join(row) for row in [head, *part]]
        (folder / f"{name}.tsv").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return hidden


def judge(name, filed, hidden):
    """Print how many of {id: path} are right; a path above the hidden label's leaf is right, too."""
    by_level = {"leaf": [], "parent": []}
    for product, path in filed.items():
        label = hidden[product]
        if path:
            is_parent = label.rpartition(" > ")[0] == path or " > " not in path
            right = label.startswith(f"{path} > ") if is_parent else label == path
            by_level["parent" if is_parent else "leaf"].append(right)
    for level, rights in by_level.items():
        if rights:
            share = 100 * sum(rights) / len(rights)
            print(
                f"{name}, at the {level}: {sum(rights):,} of {len(rights):,} right, {share:.2f} %"
            )


def read_csv(path, key, value):
    with open(path, encoding="utf-8", newline="") as file:
        return {row[key]: row[value] for row in csv.DictReader(file)}


def in_second_database(path):
    """{id: path in the shop's words} of all products."""
    with sqlite3.connect(path) as conn:
        rows = conn.execute(
            """with recursive named(id, path) as (
                   select id, name from category where parent is null union all
                   select category.id, named.path || ' > ' || name from category
                   join named on category.parent = named.id)
               select external_id, path from product join named on named.id = category_id"""
        )
        return dict(rows.fetchall())


def at_page(browser, page, labels, kind, file, look):
    """Let a person work on a page, and print what it took."""
    tab = browser.new_page(viewport={"width": 1366, "height": 768})
    tab.goto(page.as_uri())
    person = Person(tab, labels)
    person.work(person.answer if kind == "audit" else person.choose, file)
    tab.close()
    print(
        f"\n{kind}: {person.products} products, {person.keys} keys "
        f"({person.keys / person.products:.2f} a product), {person.clicks} click, {person.typed} "
        f"categories typed ({person.proposed} of them none of the list), about {person.minutes(look):.0f} minutes\n"
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--feed", type=Path, required=True, metavar="FILE")
    parser.add_argument("--new", type=int, default=1000, metavar="N")
    parser.add_argument("--labelled", type=int, default=10**9, metavar="N", help="(default: all)")
    parser.add_argument("--floor", default="90", metavar="N")
    parser.add_argument("--review", type=int, default=100, metavar="N")
    parser.add_argument("--look", type=float, default=3, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=33, metavar="N")
    args = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    filing = ("--target", 95, "--floor", args.floor)
    with tempfile.TemporaryDirectory() as work, sync_playwright() as started:
        folder = Path(work)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        hidden = write_feeds(args.feed, folder, args.new, args.labelled, args.seed)
        run(folder, "crawl", "--feed", "labelled.tsv")
        run(folder, "categorize_words", "--min-products", 5, "--folds", 10)
        run(folder, "crawl", "--feed", "new.tsv", "--unlabelled")
        filed = run(folder, "categorize_words", "--apply", 1, *filing)
        (folder / "filed.csv").write_text(filed, encoding="utf-8")
        for kind, flags, file in (
            ("audit", (), "audit.csv"),
            ("review", ("--top", args.review), "decisions.csv"),
        ):
            run(folder, "analyze", f"--{kind}", 1, *flags, "-o", f"{kind}.html")
            page = folder / f"{kind}.html"
            at_page(browser, page, hidden, kind, folder / file, args.look)
            print(run(folder, "analyze", "--overrides", file))
        run(folder, "analyze", "--export", 1, "--format", "shopify", "-o", "shopify.csv")
        run(folder, "crawl", "--db-path", "second.db", "--feed", "shopify.csv")
        run(folder, "categorize_words", "--min-products", 5, "--folds", 10)
        again = run(folder, "categorize_words", "--apply", 2, *filing)
        (folder / "again.csv").write_text(again, encoding="utf-8")
        judge("filed", read_csv(folder / "filed.csv", "id", "path"), hidden)
        judge("in the second database", in_second_database(folder / "second.db"), hidden)
        judge("filed after the next training", read_csv(folder / "again.csv", "id", "path"), hidden)
        browser.close()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
