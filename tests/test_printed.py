"""Whatever a shop's names hold, no command lets them steer a terminal or forge a line.

Each command runs in two folders: in one, all names hold HOSTILE, and in the other one blanks stand
for it. pytest tests/test_printed.py
"""

import json
import re
import sqlite3
import unicodedata

import pytest
from conftest import LEAVES, run_script
from PIL import Image

READABLE = "سلام\u200cها שלום\u200f ไทย 👩\u200d🦰 🏳️\u200d🌈 é"
HOSTILE = (
    "\x1b[2J \x1b]0;title\x07 \x9b31m \x85 \b\b \x7f \r \n#9: forged \x0b\x0c\x1c\t \u202e\u202c"
    "\u2066\u2069 \u200b\ufeff\u2060\u180e \u2028\u2029 \U000e0041 "
)
MAY_STAY = "\u200c\u200d\u200e\u200f\u061c"  # without a picture, but letters are read by them


def steers(letter):
    """Whether a character may do something to a terminal, or is hidden in it."""
    kind = unicodedata.category(letter)
    return kind in ("Cc", "Cf", "Zl", "Zp") and letter not in MAY_STAY


def harmless(text):
    """What the other folder has: the same words."""
    return "".join(" " if steers(letter) else letter for letter in text)


SPICES = {"hostile": HOSTILE, "harmless": harmless(HOSTILE)}


def make_shop(folder, spice):
    """A catalogue with `spice` in all that a feed and a database may hold, and an experiment with
    its model, what it filed, and a decision."""
    rows = []
    for leaf, path in enumerate(LEAVES):
        for turn in range(24):
            number = leaf * 24 + turn
            own = list(LEAVES.values())[(leaf + (turn % 8 == 0)) % 3]
            rows.append(
                {
                    "id": f"-{number}{spice}",
                    f"title{spice}": f"{own} {number % 5} {READABLE} {spice}",
                    "description": f"{spice} {own}",
                    "product_type": "" if turn == 23 else path,
                    "image_link": f"pictures/{spice}.png",
                    "item_group_id": f"{number}{spice}",
                    f"odd{spice}": spice,
                }
            )
    (folder / f"feed{file_name(spice)}.json").write_text(json.dumps(rows))
    load = ("--feed", f"feed{file_name(spice)}.json", "--source", f"shop{spice}")
    column = ("--column", f"title=title{spice}")
    done = [
        run_script("crawl", *load, *column, *flags, cwd=folder) for flags in (["--dry-run"], [])
    ]
    with sqlite3.connect(folder / "crawl.db") as conn:
        conn.create_function("spiced", 1, lambda text: text and spiced(text, spice))
        for table, columns in (
            ("category", ("id", "parent", "path", "name")),
            ("product", ("category_id",)),
            ("product_category", ("category_id",)),
            ("picture", ("reason",)),
        ):
            values = ", ".join(f"{column} = spiced({column})" for column in columns)
            conn.execute(f"update {table} set {values}")
        conn.execute("update product set group_key = id")  # by which products are split
    conn.close()
    train = ("--min-products", 5, "--epochs", 10)
    for flags in (("--folds", 3), ("--seed", 1)):
        done.append(run_script("categorize_words", *train, *flags, cwd=folder))
    with sqlite3.connect(folder / "crawl.db") as conn:
        conn.execute("update experiment set name = name || ?", (spice,))
    conn.close()
    return done


def spiced(text, spice):
    """A category's id, name or path with the spice in each of its levels."""
    return "/".join(part + spice.replace("/", "") for part in text.split("/"))


def file_name(spice):
    return spice.replace("/", "").replace("\0", "")


@pytest.fixture(scope="module")
def shops(tmp_path_factory):
    """{name: (folder, what its making printed)} of SPICES."""
    made = {}
    for name, spice in SPICES.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = folder, make_shop(folder, spice)
    return made


def check(runs, same_lines=True):
    """Look at the bytes of both streams of the two runs of a command."""
    for name in ("stdout", "stderr"):
        hostile, other = (getattr(run, name) for run in runs)
        assert not {hex(ord(letter)) for letter in hostile if steers(letter)} - {"0xa"}, hostile
        assert "Traceback" not in hostile
        if not hostile.startswith("<!doctype html>"):  # whose text may have lines
            assert hostile.count("\n") == other.count("\n") or not same_lines, (hostile, other)
            assert not re.search("^#9: forged", hostile, re.M)
    assert runs[0].returncode == runs[1].returncode
    assert runs[0].stdout + runs[0].stderr


@pytest.mark.redteam
def test_making_it_prints_no_character_that_steers(shops):
    for runs in zip(*(done for _, done in shops.values())):
        check(runs)
        assert runs[0].returncode in (0, 1), runs[0].stderr


# ---- each command -------------------------------------------------------------------------------

SAID = "{}"  # stands for the spice
FEED = ("--feed", "feed{}.json", "--column", "title=title{}")
COMMANDS = (
    ("crawl", "--status"),
    ("crawl", "--verify"),
    ("crawl", "--dry-run", "--root", SAID, "--api-url", "http://127.0.0.1:9/" + SAID),
    ("crawl", "--root", SAID, "--api-url", "http://127.0.0.1:9/" + SAID, "--tries", 1),
    ("crawl", "--feed", SAID),
    ("crawl", "--feed", "http://127.0.0.1:9/" + SAID, "--tries", 1),
    ("crawl", "--feed", "feed{}.json", "--column", SAID),
    ("crawl", "--feed", "feed{}.json", "--column", "title=" + SAID),
    ("crawl", *FEED, "--source", "two" + SAID, "--dry-run", "--write-moves", SAID + ".csv"),
    ("crawl", "--feed", "feed{}.json", "--encoding", SAID),
    ("crawl", "--feed", "feed{}.json", "--sheet", SAID),
    ("crawl", "--tries", SAID),
    ("crawl", "--db-path", SAID, "--status"),
    ("crawl", SAID, "--status"),
    ("categorize_words", "--apply", 1, "--target", 60),
    ("categorize_words", "--apply", 1, "--target", 50, "--dry-run", "--file-anyway"),
    ("categorize_words", "--apply", 1, "--target", 50, "--file-anyway"),
    ("categorize_words", "--apply", 1, "--target", 50, "--file-anyway", "--format", "jsonl"),
    ("categorize_words", "--apply", 1, "--format", SAID),
    ("categorize_words", "--categories", SAID),
    ("categorize_words", "--min-products", 24),
    ("categorize_words", "--db-path", SAID + ".db"),
    ("categorize_words", "--explain", 1, "--experiment", 1),
    ("categorize_words", "--vectors", SAID),
    ("categorize_images", "--categories", SAID),
    ("categorize_images", "--weights", SAID),
    ("categorize_both", "--categories", SAID),
    ("categorize_both", "--apply", 1),
    ("analyze",),
    ("analyze", "--experiments"),
    ("analyze", "--experiment", 1),
    ("analyze", "--experiment", 1, "--floor", 90),
    ("analyze", "--compare", 1, 2),
    ("analyze", "--label-suspects", 1),
    ("analyze", "--models"),
    ("analyze", "--review", 1, "-o", SAID + ".html"),
    ("analyze", "--dump-errors-for-experiment", 1, "-o", SAID + ".html"),
    ("analyze", "--dump-errors-for-experiment", 1, "-o", "no/" + SAID + ".html"),
    ("analyze", "--review", 1),
    ("analyze", "--dump-errors-for-experiment", 1),
    ("analyze", "--overrides", SAID),
    ("analyze", "--overrides", "decisions.csv"),
    ("analyze", "--recategorize", "moves.csv"),
    ("analyze", "--undo-recategorize"),
    ("analyze", "--compare", SAID),
    *(
        ("analyze", *flags, "--json")
        for flags in ((), ("--experiments",), ("--experiment", 1), ("--compare", 1, 2))
    ),
    ("analyze", "--label-suspects", 1, "--json"),
    ("analyze", "--models", "--json"),
    ("retrain", "--label_image", SAID, "--output_graph", SAID),
    ("retrain", "--image_dir", SAID),
)


@pytest.mark.slow
def test_labels_of_pictures_and_of_a_network_print_no_character_that_steers(
    tmp_path, networks_made_once
):
    """Folders' names are labels, and are in the file of the network and in that of the labels."""
    runs = []
    for name, spice in SPICES.items():
        spice = "".join(letter for letter in spice if letter not in "/\r\n")  # refused in a label
        for label, shade in (("red", (200, 9, 9)), ("blue", (9, 9, 200))):
            folder = tmp_path / name / "pictures" / f"{label}{spice}{READABLE}"
            folder.mkdir(parents=True)
            for number in range(30):
                picture = Image.new("RGB", (40, 40), (*shade[:2], shade[2] + number))
                picture.save(folder / f"{number}{spice}.png")
        flags = ("--weights", "random", "--layer", "mixed0", "--how_many_training_steps", 5)
        flags += ("--bottleneck_dir", "b", "--output_graph", "g.keras", "--output_labels", "l.txt")
        flags += ("--image_dir", "pictures", "--print_misclassified_test_images")
        done = [run_script("retrain", *flags, cwd=tmp_path / name)]
        ask = ("--label_image", folder / f"3{spice}.png", "no" + spice, "--output_graph", "g.keras")
        runs.append([*done, run_script("retrain", *ask, cwd=tmp_path / name)])
    for hostile, other in zip(*runs):
        assert "blue" in hostile.stdout or "accuracy" in hostile.stdout, hostile.stderr
        check((hostile, other), same_lines=hostile.args[1] == "--label_image")


@pytest.fixture
def written(shops):
    """Files of decisions and moves with HOSTILE in each cell."""
    for name, (folder, _) in shops.items():
        cell = '"' + SPICES[name].replace('"', "") + '"'
        with sqlite3.connect(folder / "crawl.db") as conn:
            (category,) = conn.execute("select id from category where leaf").fetchone()
        conn.close()
        (folder / "decisions.csv").write_text(
            f"product_id,decision,suggestion,proposed,source,name\n1,unclear,,,,\n{cell},a,b,c,,\n"
            f"1,{cell},{cell},{cell},{cell},{cell}\n2,label wrong,,New {READABLE},,\n"
            f"3,label wrong,{cell},,,\n4,label wrong,,A > New,,\n"
        )
        (folder / "moves.csv").write_text(
            f'from,to\n{cell},{cell}\n"{category}",Other > Things{READABLE}\nx{cell},\n'
        )


@pytest.mark.redteam
@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: " ".join(map(str, words)))
def test_a_command_prints_no_character_that_steers(shops, written, words):
    check(
        [
            run_script(
                words[0],
                *(str(word).replace(SAID, file_name(SPICES[name])) for word in words[1:]),
                cwd=folder,
            )
            for name, (folder, _) in shops.items()
        ]
    )
