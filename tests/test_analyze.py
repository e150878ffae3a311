"""analyze.py on hand-made databases: the block to the letter, and a page that no text can break.

No TensorFlow; about 10 seconds.

    pytest tests/test_analyze.py
    pytest tests/test_analyze.py -k page
"""
import base64
import hashlib
import html.parser
import io
import os
import random
import sqlite3
import subprocess
import sys

import pytest
from PIL import Image

from conftest import REPO, environment, run_script

import db
import report

BLOCK_2016 = """\
#1: Image classification of:\x20
  Accuracy: 57.14% (N=7)
  95% Accuracy Coverage: 28%
  98% Accuracy Coverage: 28%
  Parent Accuracy: 71.43%
  Parent 95% Accuracy Coverage: 57%
  Parent 98% Accuracy Coverage: 57%
"""
LEAVES = ("jeans.bootcut", "jeans.skinny", "bags.totes")
# (label, predicted, score): in descending order right, right, wrong leaf of the right parent,
# right, wrong, wrong, right; the first three wrong scores are a tie with a right one.
PREDICTIONS = [(0, 0, .99), (1, 1, .95), (0, 1, .9), (2, 2, .8), (2, 0, .5), (1, 2, .4), (0, 0, .3)]
OLD_SCHEMA = """
create table schema_version(id integer primary key, date text, name text);
create table category(id text primary key, parent text, leaf integer, product_count integer,
                      path text);
create table product(id integer primary key, category_id text, image text, name text,
                     description text, image_crawled integer);
create table experiment(id integer primary key autoincrement, name text, date text);
create table predicted_category(experiment_id integer, product_id integer, category_id text,
                                score real);
insert into schema_version(date, name) values ('2016-12-01', 'category table'),
    ('2016-12-01', 'product table'), ('2016-12-01', 'add category.path'),
    ('2016-12-01', 'add product.image_crawled'), ('2016-12-01', 'add experiment schema');
"""


def tree(conn):
    rows = [("women", None, 0, None), ("jeans", "women", 0, "jeans"), ("bags", "women", 0, "bags"),
            *((leaf, leaf.split(".")[0], 1, leaf.split(".")[0] + "/" + leaf) for leaf in LEAVES)]
    conn.executemany("insert into category(id, parent, leaf, path) values (?, ?, ?, ?)", rows)


def add_product(conn, number, label, name="Name", description="Text", image=""):
    conn.execute("""insert into product(id, category_id, image, name, description)
                    values (?, ?, ?, ?, ?)""", (number, label, image, name, description))


def add_prediction(conn, experiment, product, predicted, score, **more):
    names = ["experiment_id", "product_id", "category_id", "score", *more]
    conn.execute(f"""insert into predicted_category({', '.join(names)})
                     values ({', '.join('?' * len(names))})""",
                 (experiment, product, predicted, score, *more.values()))


def fill(conn, labels):
    """The predictions above as experiment 1; `labels` says whether rows hold one of their own."""
    tree(conn)
    conn.execute("""insert into experiment(name, date)
                    values ('Image classification of: ', '2016-12-24')""")
    for number, (label, predicted, score) in enumerate(PREDICTIONS, 1):
        # A product that was filed elsewhere since then keeps the label it was trained on.
        add_product(conn, number, LEAVES[label] if not labels else "bags")
        own = {"label_id": LEAVES[label]} if labels else {}
        add_prediction(conn, 1, number, LEAVES[predicted], score, **own)


@pytest.fixture
def old(tmp_path):
    """A crawl.db of the 2016 scripts."""
    conn = sqlite3.connect(tmp_path / "crawl.db")
    with conn:
        conn.executescript(OLD_SCHEMA)
        fill(conn, labels=False)
    conn.close()
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    """A crawl.db of today with experiment 1."""
    conn = db.open_database(str(tmp_path / "crawl.db"), create=True)
    fill(conn, labels=True)
    conn.close()
    return tmp_path


def change(folder, statement, *values):
    conn = sqlite3.connect(folder / "crawl.db")
    with conn:
        conn.execute(statement, values)
    conn.execute("pragma wal_checkpoint(truncate)")
    conn.close()


def repeat_experiment(folder):
    """Make an experiment 2 with the predictions of experiment 1."""
    change(folder, "insert into experiment(name, date) values ('again', '2016-12-25')")
    change(folder, """insert into predicted_category(experiment_id, product_id, category_id, score,
                      label_id) select 2, product_id, category_id, score, label_id
                      from predicted_category""")


# ---- the block ----------------------------------------------------------------------------------

def test_the_block_to_the_letter(folder):
    done = run_script("analyze", cwd=folder)
    assert (done.returncode, done.stdout, done.stderr) == (0, BLOCK_2016, "")


def test_a_file_of_2016_is_brought_up_to_date_says_so_and_keeps_every_row(old):
    before = sqlite3.connect(old / "crawl.db")
    tables = ("category", "product", "experiment", "predicted_category")
    wanted = {table: before.execute(f"select * from {table}").fetchall() for table in tables}
    before.close()
    first, second = (run_script("analyze", cwd=old) for _ in range(2))
    assert first.stdout == second.stdout == BLOCK_2016 and second.stderr == ""
    assert first.returncode == 0 and len(first.stderr.splitlines()) == 1
    assert "crawl.db is of an older version" in first.stderr
    after = sqlite3.connect(old / "crawl.db")
    for table, rows in wanted.items():
        assert [row[:len(rows[0])] for row in after.execute(f"select * from {table}")] == rows
    after.close()


def test_what_was_right_at_a_leaf_and_a_parent_without_a_tree_is_itself(folder):
    change(folder, "delete from category")
    done = run_script("analyze", cwd=folder)
    assert "  Accuracy: 57.14% (N=7)\n" in done.stdout
    assert "  Parent Accuracy: 57.14%\n" in done.stdout


def test_experiments_without_predictions_are_skipped(folder):
    change(folder, "insert into experiment(name, date) values ('killed in 2016', '')")
    change(folder, "insert into experiment(name, date) values ('Text', '')")
    change(folder, """insert into predicted_category(experiment_id, product_id, category_id, score,
                      label_id) values (3, 1, 'jeans.skinny', .5, 'bags.totes')""")
    done = run_script("analyze", cwd=folder)
    assert [line for line in done.stdout.splitlines() if line.startswith("#")] \
        == ["#1: Image classification of: ", "#3: Text"]
    assert done.stdout.endswith("""#3: Text
  Accuracy: 0.00% (N=1)
  95% Accuracy Coverage: 0%
  98% Accuracy Coverage: 0%
  Parent Accuracy: 0.00%
  Parent 95% Accuracy Coverage: 0%
  Parent 98% Accuracy Coverage: 0%
""")


def test_no_experiment_yet_is_no_output_and_no_error(tmp_path):
    db.open_database(str(tmp_path / "crawl.db"), create=True).close()
    done = run_script("analyze", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_file_of_today_is_only_read(folder):
    repeat_experiment(folder)
    digest = hashlib.sha256((folder / "crawl.db").read_bytes()).digest()
    stamp = os.stat(folder / "crawl.db").st_mtime_ns
    for flags in ((), ("--dump-errors-for-experiment", "1"), ("--experiment", "1"),
                  ("--compare", "1", "2")):
        assert run_script("analyze", *flags, cwd=folder).returncode == 0
    assert hashlib.sha256((folder / "crawl.db").read_bytes()).digest() == digest
    assert os.stat(folder / "crawl.db").st_mtime_ns == stamp
    conn = db.open_readonly(str(folder / "crawl.db"))
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        conn.execute("delete from experiment")
    conn.close()


@pytest.mark.parametrize("flags", [(), ("--dump-errors-for-experiment", "1"), ("--experiment", "1"),
                                   ("--compare", "1", "2", "--json")])
def test_it_never_imports_tensorflow(folder, flags):
    repeat_experiment(folder)
    code = ("import sys, analyze; assert analyze.main(sys.argv[1:]) == 0; "
            "assert not {'tensorflow', 'keras', 'sklearn', 'scipy'} & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code, *flags], cwd=folder, capture_output=True,
                          env=environment(PYTHONPATH=str(REPO)), text=True)
    assert done.returncode == 0, done.stderr


# ---- mistakes -----------------------------------------------------------------------------------

def malformed(data):
    """A file whose first page is whole and the rest is not."""
    return data[:4096] + bytes(byte ^ 0x5a for byte in data[4096:])


@pytest.mark.parametrize("make", [
    lambda data: None, lambda data: b"hello, this is no database" * 99, lambda data: data[:20_000],
    lambda data: b"", malformed],
    ids=["missing", "text", "cut short", "empty", "malformed"])
def test_a_file_that_is_no_crawl_db_is_one_sentence(folder, make):
    data = make((folder / "crawl.db").read_bytes())
    (folder / "other.db").write_bytes(data or b"")
    if data is None:
        (folder / "other.db").unlink()
    done = run_script("analyze", "--db-path", "other.db", cwd=folder)
    assert (done.returncode, done.stdout) == (2, "") and len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("analyze.py: ")
    assert "other.db" in done.stderr or "--db-path" in done.stderr
    if data is not None:
        assert (folder / "other.db").read_bytes() == data


@pytest.mark.parametrize("number", ["7", "-1", "9" * 30])
def test_an_experiment_that_is_not_there_is_one_sentence_that_names_those_that_are(folder, number):
    done = run_script("analyze", "--dump-errors-for-experiment", number, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"analyze.py: there is no experiment {number} (there are: 1)\n"


@pytest.mark.parametrize("flags", [("--no-such-flag",), ("--dump-errors-for-experiment", "x")])
def test_a_wrong_flag_is_an_error(folder, flags):
    done = run_script("analyze", *flags, cwd=folder)
    assert (done.returncode, done.stdout) == (2, "") and flags[0] in done.stderr


@pytest.mark.parametrize("flags", [(), ("--dump-errors-for-experiment", "1")])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_traceback(folder, flags, unbuffered):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as stdout:
        done = subprocess.run([sys.executable, REPO / "analyze.py", *flags], cwd=folder,
                              env=environment(PYTHONUNBUFFERED=unbuffered), stdout=stdout,
                              stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "")


def test_head_takes_the_first_line_of_a_long_page_in_peace(folder):
    change(folder, "update product set description = ? where id = 5", "word " * 200_000)
    done = subprocess.run(f'"{sys.executable}" "{REPO / "analyze.py"}" '
                          "--dump-errors-for-experiment 1 | head -1", shell=True, cwd=folder,
                          capture_output=True, text=True, env=environment())
    assert (done.stdout, done.stderr) == ("<!doctype html>\n", "")


def test_a_terminal_of_another_alphabet_gets_utf_8_all_the_same(folder):
    change(folder, "update experiment set name = 'Text: röcke,ジーンズ'")
    change(folder, "update product set name = 'ジーンズ' where id = 5")
    for flags in ((), ("--dump-errors-for-experiment", "1")):
        done = subprocess.run([sys.executable, REPO / "analyze.py", *flags], cwd=folder,
                              env=environment(PYTHONIOENCODING="latin-1"), capture_output=True)
        assert done.returncode == 0, done.stderr
        assert "ジーンズ" in done.stdout.decode("utf-8")


# ---- the page -----------------------------------------------------------------------------------

class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its tags, and the text between them."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_endtag(self, tag):
        self.open.append("/" + tag)

    def handle_data(self, data):
        self.texts.append(data)

    def handle_comment(self, data):
        self.tags.append(("comment", data))

    def named(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def page_of(folder, number=1):
    done = run_script("analyze", "--dump-errors-for-experiment", number, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return Page(done.stdout)


def test_the_page_shows_the_wrong_ones_surest_first_with_all_that_is_asked(folder):
    page = page_of(folder)
    text = " ".join(" ".join(page.texts).split())
    assert "Experiment 1: Image classification of: " in text
    assert "Accuracy: 57.14% (N=7)" in text and "Parent 98% Accuracy Coverage: 57%" in text
    cells = [part.strip() for part in page.texts if part.strip()]
    filed = [cells[i + 1] for i, cell in enumerate(cells) if cell == "Category"]
    predicted = [cells[i + 1] for i, cell in enumerate(cells) if cell == "Predicted"]
    assert filed == ["jeans.bootcut", "bags.totes", "jeans.skinny"]
    assert predicted == ["jeans.skinny (0.900000)", "jeans.bootcut (0.500000)",
                         "bags.totes (0.400000)"]


def test_the_page_of_a_2016_experiment_uses_the_category_of_the_product(old):
    run_script("analyze", cwd=old)
    assert [part for part in page_of(old).texts if "(0." in part] \
        == ["jeans.skinny (0.900000)", "jeans.bootcut (0.500000)", "bags.totes (0.400000)"]


def test_the_page_without_an_error_says_so(folder):
    change(folder, "delete from predicted_category where category_id <> label_id")
    page = page_of(folder)
    assert not page.named("table") and any("No prediction" in text for text in page.texts)


HOSTILE = ["<script>alert(1)</script>", "</script></td></table><h1>mine</h1>", "<!-- comment",
           '" onerror="alert(1)', "' onload='alert(1)", "{{ 7 * 7 }}{% raw %}", "&lt;b&gt; &amp;",
           "a\0b", "\u202egnp.exe\u2066", "\U0001f456\u200d\U0001f9e5", "]]><img src=x onerror=1>",
           "x" * 100_000, "<ul><li>one</li></ul>", "\ufeff\u2028\u2029", "<plaintext>",
           "<svg/onload="]


def plain(text):
    return text.replace("\0", "").replace("\r", "")


def test_hostile_text_comes_out_of_the_page_as_text(folder):
    expected = {tag for tag, _ in page_of(folder).tags}
    for number, text in enumerate(HOSTILE, 100):
        change(folder, "insert into product(id, name, description, image) values (?, ?, ?, ?)",
               number, text, f"D {text} D", f"javascript:{text}")
        change(folder, """insert into predicted_category(experiment_id, product_id, category_id,
               score, label_id) values (1, ?, ?, .7, ?)""", number, f"P {text} P", f"L {text} L")
    change(folder, "update experiment set name = ?, date = ?", HOSTILE[0], HOSTILE[1])
    page = page_of(folder)
    assert {tag for tag, _ in page.tags} == expected and "script" not in expected
    assert len(page.named("tr")) == 1 + 3 + len(HOSTILE) and not page.named("img")
    assert page.open.count("table") == page.open.count("/table") == 1
    assert {name for _, attributes in page.tags for name in attributes} \
        <= {"lang", "charset", "name", "content", "http-equiv", "class", "scope"}
    shown = plain("\0".join(page.texts))
    for text in HOSTILE:
        for whole in (text, f"D {text} D", f"P {text} P", f"L {text} L"):
            assert plain(whole) in shown
    policy, = (tag["content"] for tag in page.named("meta") if "http-equiv" in tag)
    assert "default-src 'none'" in policy and "script-src" not in policy


def test_the_page_holds_500_at_the_most_and_they_are_the_surest(folder):
    conn = sqlite3.connect(folder / "crawl.db")
    with conn:
        for number in range(1000, 1600):
            add_product(conn, number, LEAVES[0])
            add_prediction(conn, 1, number, LEAVES[1], (number * 7919 % 600 + 1) / 1000,
                           label_id=LEAVES[0])
    conn.close()
    scores = [float(text.split("(")[1][:-1]) for text in page_of(folder).texts if " (0." in text]
    assert len(scores) == 500 and scores == sorted(scores, reverse=True)
    assert scores[:3] == [.9, .6, .599] and scores[-1] == pytest.approx(.104)


def add_picture(folder, product, data, name="a.jpg", status="ok", image=""):
    (folder / "images").mkdir(exist_ok=True)
    if data is not None:
        (folder / "images" / name).write_bytes(data)
    change(folder, "insert or replace into picture(product_id, path, status) values (?, ?, ?)",
           product, name, status)
    change(folder, "update product set image = ? where id = ?", image, product)


def encoded(picture, kind, **more):
    data = io.BytesIO()
    picture.save(data, kind, **more)
    return data.getvalue()


def embedded(source):
    kind, data = source.split(",")
    assert kind == "data:image/jpeg;base64"
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


@pytest.mark.parametrize("mode, kind", [("RGB", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"),
                                        ("P", "PNG"), ("P", "GIF"), ("L", "PNG"), ("RGB", "WEBP")])
def test_the_page_carries_its_pictures_small_and_within_it(folder, mode, kind):
    picture = Image.new("RGB", (900, 600), (200, 40, 50)).convert(mode)
    shade = picture.convert("RGB").getpixel((0, 0))
    add_picture(folder, 3, encoded(picture, kind), image="https://shop.example/a.jpg")
    picture = embedded(page_of(folder).named("img")[0]["src"])
    assert picture.size == (160, 107)
    assert all(abs(a - b) < 15 for a, b in zip(picture.getpixel((80, 50)), shade))


def test_the_page_shows_a_photo_taken_sideways_upright(folder):
    exif = Image.Exif()
    exif[0x0112] = 6
    add_picture(folder, 3, encoded(Image.new("RGB", (200, 100)), "JPEG", exif=exif))
    assert embedded(page_of(folder).named("img")[0]["src"]).size == (100, 200)


@pytest.mark.parametrize("data", [None, b"", b"<html>", encoded(Image.effect_noise((90, 90), 99),
                                                                "JPEG")[:900]])
def test_without_a_readable_picture_the_page_links_a_web_address_and_nothing_else(folder, data):
    for product, image in ((3, "HTTPS://shop.example/a.jpg?x=1&y=\"><script>"),
                           (5, "javascript:alert(1)"), (6, "data:text/html,<script>")):
        add_picture(folder, product, data, f"{product}.jpg", image=image)
    page = page_of(folder)
    assert [tag["src"] for tag in page.named("img")] \
        == ["HTTPS://shop.example/a.jpg?x=1&y=\"><script>"]
    assert [text for text in page.texts if text == "no picture"] == ["no picture"] * 2


def test_whatever_the_bytes_of_a_picture_are_there_is_a_page(folder):
    rng = random.Random(6)
    for kind in ("PNG", "GIF", "WEBP", "TIFF", "AVIF", "BMP"):
        try:
            whole = encoded(Image.effect_noise((40, 40), 80).convert("RGB"), kind)
        except (KeyError, OSError):
            continue
        for _ in range(80):
            data = bytearray(whole)
            for _ in range(rng.randrange(1, 6)):
                data[rng.randrange(min(len(data), rng.choice((60, 400, 10 ** 6))))] \
                    = rng.randrange(256)
            (folder / "a").write_bytes(data)
            source = report.thumbnail({"picture": "a", "image": None}, str(folder))
            assert source is None or embedded(source).size <= (160, 205)


# ---- what somebody else wrote into the file -----------------------------------------------------

@pytest.mark.parametrize("settings", ("nonsense", "[1]", "{", "null", "7"))
def test_settings_that_are_none_are_passed_over(folder, settings):
    change(folder, "update experiment set settings = ?", settings)
    repeat_experiment(folder)
    for flags in ((), ("--experiment", 1), ("--compare", 1, 2)):
        done = run_script("analyze", *flags, cwd=folder)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
    done = run_script("analyze", "--label-suspects", 1, cwd=folder)
    assert done.returncode == 2 and "has no folds" in done.stderr


@pytest.mark.parametrize("flags", ((), ("--experiment", 1), ("--compare", 1, 2)))
def test_a_score_that_is_no_number_is_one_sentence(folder, flags):
    repeat_experiment(folder)
    change(folder, "update predicted_category set score = 'abc' where product_id = 3")
    done = run_script("analyze", *flags, cwd=folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "experiment 1 hold what no script wrote" in done.stderr


def test_a_list_of_the_best_that_is_none_is_one_sentence(folder):
    change(folder, "update experiment set settings = '{\"folds\": 3}'")
    change(folder, "update predicted_category set top = '{{'")
    done = run_script("analyze", "--label-suspects", 1, cwd=folder)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "hold what no script wrote" in done.stderr
