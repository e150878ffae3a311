"""Each script ended at any instant, by kill -9, by kill and by Ctrl-C, and run again to its end.

An instant lies just before a change on the disk, see killing.py. Of each kind of change that a
script makes, some are drawn. What is there in the end must be what an undisturbed run leaves, and
in between analyze.py must print what it printed before or what it prints after.

    pytest tests/test_kills.py
    pytest tests/test_kills.py -k "retrain or both"
"""

import collections
import contextlib
import functools
import hashlib
import json
import os
import random
import re
import shutil
import signal
import time
import zipfile
from typing import NamedTuple

import pytest
from conftest import write_feed
from killing import Runner, is_stopped
from PIL import Image
from test_db import make_2016

import db

WORDS = {
    "Jeans > Bootcut Jeans": "flare",
    "Jeans > Skinny Jeans": "slim",
    "Bags > Clutches": "satin",
    "Bags > Totes": "canvas",
}
FILLING = "red green classic soft new daily light long".split()
NETWORK = ("--weights", "random", "--layer", "mixed0", "--how_many_training_steps", "8")
DISTORTED = (
    "--train_batch_size",
    "8",
    "--random_crop",
    "10",
    "--random_brightness",
    "10",
    "--flip_left_right",
)


def products(per_leaf, first=0, renamed=False):
    """Rows of a feed: every third leaf's name is another one in a feed that is `renamed`."""
    rng, rows = random.Random(first), []
    for leaf, own in WORDS.items():
        for _ in range(per_leaf):
            number = first + len(rows)
            text = " ".join(rng.sample(FILLING, 3))
            name = f"{text} {own if rng.random() < 0.9 else 'flare'}"
            path = leaf.replace("Totes", "Shoppers") if renamed else leaf
            picture = f"pictures/{(number - first) % 12}.png"
            rows.append((f"n{number}", name, text[::-1], path, picture, ""))
    return rows


def draw_pictures(folder):
    folder.mkdir(parents=True)
    for number in range(12):
        Image.new("RGB", (40, 50), (20 * number, 99, 250 - 20 * number)).save(
            folder / f"{number}.png"
        )


@pytest.fixture(scope="module")
def runner():
    runner = Runner()
    yield runner
    runner.close()


@pytest.fixture(scope="module")
def stages(tmp_path_factory, runner):
    """Folders to begin with, by name: each is where one before it led."""
    folder = tmp_path_factory.mktemp("stages")
    draw_pictures(folder / "empty" / "pictures")
    for label in ("warm", "cold", "mild"):
        draw_pictures(folder / "empty" / "labels" / label)
    for label, turn in (("cold", 60), ("mild", 120)):  # or all labels have the same pictures
        for path in (folder / "empty" / "labels" / label).iterdir():
            with Image.open(path) as picture:
                pixel = picture.getpixel((0, 0))
            Image.new("RGB", (41, 50), (turn, pixel[0], pixel[2])).save(path)
    write_feed(folder / "empty" / "feed.tsv", products(30))
    write_feed(folder / "empty" / "later.tsv", products(28, renamed=True))
    write_feed(folder / "empty" / "new.tsv", products(10, 1000))
    changed = [(row[0], f"{row[1]} canvas", *row[2:]) for row in products(10, 1000)]
    write_feed(folder / "empty" / "changed.tsv", changed)
    (folder / "empty" / "moves.csv").write_text(
        "from,to\nBags > Totes,Bags > Shoppers\nJeans,Trousers\n"
    )
    (folder / "empty" / "decisions.csv").write_text(
        "product_id,decision,suggestion,label\n"
        + "".join(f"{n},label wrong,bags.totes,jeans.bootcut-jeans\n" for n in range(1, 9))
    )

    def then(name, before, script, *argv):
        shutil.copytree(folder / before, folder / name)
        done = runner.run(script, *argv, cwd=folder / name)
        assert done.status == 0, done.stderr

    then("fed", "empty", "crawl", "--feed", "feed.tsv")
    then("trained", "fed", "categorize_words", *EVERY, "--folds", "3")
    then("waiting", "trained", "crawl", "--feed", "new.tsv", "--unlabelled")
    then("filed", "waiting", "categorize_words", "--apply", "1", *PROMISE)
    then("moved", "trained", "analyze", "--recategorize", "moves.csv")
    then("paged", "filed", "analyze", "--review", "1", "-o", "review.html")
    shutil.copytree(folder / "trained", folder / "namesake")
    shutil.copy(folder / "fed" / "crawl.db", folder / "namesake" / "crawl.sqlite")
    shutil.copytree(folder / "empty", folder / "2016")
    make_2016(folder / "2016" / "crawl.db")
    return folder


EVERY = ("--min-products", "10", "--epochs", "2")
ONE = ("--ensemble", "1")  # where several networks would only take longer
PROMISE = ("--target", "60", "--confidence", "60", "--file-anyway")


class Case(NamedTuple):
    """A command, and the stage that it begins with."""

    stage: str
    script: str
    argv: tuple[str, ...]
    status: int = 0


CASES = {
    "load": Case("empty", "crawl", ("--feed", "feed.tsv")),
    "load again": Case(
        "trained",
        "crawl",
        ("--feed", "later.tsv", "--remove-missing", "--write-moves", "written.csv"),
    ),
    "load changed": Case("waiting", "crawl", ("--feed", "changed.tsv", "--unlabelled")),
    "migration": Case("2016", "analyze", ()),
    "words": Case("fed", "categorize_words", EVERY),
    "folds": Case("trained", "categorize_words", (*EVERY, *ONE, "--folds", "3")),
    "namesake": Case("namesake", "categorize_words", (*EVERY, *ONE, "--db-path", "crawl.sqlite")),
    "both": Case("fed", "categorize_both", (*EVERY, *NETWORK)),
    "concat": Case(
        "trained", "categorize_both", ("--min-products", "10", "--fusion", "concat", *NETWORK)
    ),
    "retrain": Case("empty", "retrain", ("--image_dir", "labels", *NETWORK)),
    "distorted": Case("empty", "retrain", ("--image_dir", "labels", *NETWORK, *DISTORTED)),
    "apply": Case("waiting", "categorize_words", ("--apply", "1", *PROMISE)),
    "apply again": Case(
        "filed", "categorize_words", ("--apply", "1", "--target", "90", "--file-anyway")
    ),
    "overrides": Case("filed", "analyze", ("--overrides", "decisions.csv")),
    "recategorize": Case("trained", "analyze", ("--recategorize", "moves.csv")),
    "undo": Case("moved", "analyze", ("--undo-recategorize",)),
    "page": Case("filed", "analyze", ("--review", "1", "-o", "review.html")),
    "page again": Case(
        "paged", "analyze", ("--dump-errors-for-experiment", "1", "-o", "review.html")
    ),
}


# ---- what is compared ---------------------------------------------------------------------------


def timeless(text):
    """An object of JSON, such as settings, without what takes another value each time."""
    changing = ("wall_time", "model", "date")
    return {name: value for name, value in json.loads(text).items() if name not in changing}


def rows_of(path):
    """{table: its rows without dates} of a database, None if it is empty or not there."""
    if not path.exists() or not path.stat().st_size:
        return None
    tables = {}
    with contextlib.closing(db.connect(str(path), "rw")) as conn:
        assert conn.execute("pragma integrity_check").fetchone()[0] == "ok"
        for table in sorted(db.table_names(conn)):
            if conn.execute("select type from sqlite_master where name = ?", (table,)).fetchone()[
                0
            ] != "table" or table.startswith("sqlite_"):
                continue
            tables[table] = sorted(
                (
                    {
                        name: timeless(row[name])
                        if name in ("settings", "row") and row[name]
                        else row[name]
                        for name in row.keys()
                        if name != "date"
                    }
                    for row in conn.execute(f'select * from "{table}"')
                ),
                key=repr,
            )
    return tables


def content(path):
    """What a file holds, without what takes another value each time."""
    if path.name == "model.json":
        described = json.loads(path.read_text(encoding="utf-8"))
        described["settings"].pop("wall_time")
        return described
    if path.suffix == ".keras" and zipfile.is_zipfile(path):  # not one that is half written
        with zipfile.ZipFile(path) as archive:
            # metadata.json holds a date. Keras numbers a shared object by its address in memory.
            return {
                name: hashlib.sha256(
                    re.sub(rb'"shared_object_id": \d+', b"", archive.read(name))
                ).hexdigest()
                for name in archive.namelist()
                if name != "metadata.json"
            }
    return hashlib.sha256(path.read_bytes()).hexdigest()


def state(folder):
    """All that the scripts have left in a folder, but for dates: rows of the databases, and files.
    TensorBoard's are left out: each run writes curves of its own."""
    files = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_file() and "crawl." not in path.name and "retrain_logs" not in name:
            files[name] = content(path)
    return files, [rows_of(folder / name) for name in ("crawl.db", "crawl.sqlite")]


def models_known(folder):
    """Each experiment with a model has the one that it wrote down."""
    from learning import model_folders, saved_models

    for name in ("crawl.db", "crawl.sqlite"):
        path = folder / name
        if (rows_of(path) or {}).get("experiment"):
            with contextlib.closing(db.open_readonly(str(path))) as conn:
                for row in db.all_experiments(conn):
                    digest = db.settings(row).get("model")
                    models = model_folders.models_folder(str(path))
                    if digest:
                        assert saved_models.digest(f"{models}/experiment-{row['id']}") == digest


class Whole(NamedTuple):
    """An undisturbed run: what it left, the kinds of its changes, what analyze.py prints before and
    after it."""

    left: tuple
    changes: list
    printed: list


@pytest.fixture(scope="module")
def begin(stages, tmp_path_factory):
    """begin(name of a case) -> a folder at its beginning, the same path each time: pages say whose
    they are."""
    folder = tmp_path_factory.mktemp("kills") / "shop"

    def begun(name):
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(stages / CASES[name].stage, folder)

    return begun


@pytest.fixture(scope="module")
def whole(runner, begin):
    """whole(name of a case) -> Whole, made once."""

    @functools.cache
    def of(name):
        case, printed = CASES[name], []
        if case.stage != "2016":  # which analyze.py itself would change
            printed.append(runner.run("analyze", cwd=begin(name)).stdout)
        folder = begin(name)
        done = runner.run(case.script, *case.argv, cwd=folder)
        assert done.status == case.status, done.stderr
        left = state(folder)
        return Whole(left, done.changes, [*printed, runner.run("analyze", cwd=folder).stdout])

    return of


# A run of these takes ten seconds and more, so they are ended at a few instants only.
HEAVY = {"both": 8, "concat": 4, "retrain": 8, "distorted": 4}


def instants(changes, rng, of_each, most=None):
    """Numbers of changes to be ended before, in order: of each kind the last, and so many others;
    of all these `most` at random, if it is given."""
    by_kind = collections.defaultdict(list)
    for number, kind in enumerate(changes, 1):
        by_kind[kind].append(number)
    drawn = set()
    for *others, last in by_kind.values():
        drawn.update([last, *rng.sample(others, min(len(others), of_each))])
    return sorted(drawn if most is None else rng.sample(sorted(drawn), min(most, len(drawn))))


# ---- ended, and run again -----------------------------------------------------------------------


def check_between(runner, folder, whole):
    """analyze.py answers as it did before the run or as it does after it."""
    models_known(folder)
    if rows_of(folder / "crawl.db") is None:
        return  # the first load has not begun
    done = runner.run("analyze", cwd=folder)
    assert "Traceback" not in done.stderr
    assert done.stdout in whole.printed


def check_again(runner, folder, name, whole):
    """Run a case that was ended again, unless it was done already, and compare."""
    case = CASES[name]
    if state(folder) != whole.left:
        done = runner.run(case.script, *case.argv, cwd=folder)
        assert done.status == case.status, done.stderr
    files, rows = state(folder)
    assert files == whole.left[0]
    assert rows == whole.left[1]
    models_known(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_killed_at_an_instant_of_each_kind_and_run_again_it_ends_as_if_undisturbed(
    name, whole, runner, begin
):
    case, undisturbed = CASES[name], whole(name)
    killed = 0
    for at in instants(undisturbed.changes, random.Random(name), 1, HEAVY.get(name)):
        folder = begin(name)
        ended = runner.run(case.script, *case.argv, cwd=folder, at=at)
        # Pictures are stored by the clock, so that a run may have ended before.
        assert ended.status in (-9, case.status)
        killed += ended.status == -9
        check_between(runner, folder, undisturbed)
        check_again(runner, folder, name, undisturbed)
    assert killed >= (2 if name in HEAVY else 4)


SHORT = ("load", "words", "apply", "recategorize", "undo", "page")


@pytest.mark.slow
@pytest.mark.redteam
@pytest.mark.parametrize("name", SHORT)
def test_killed_again_and_again_in_one_folder_it_ends_as_if_undisturbed(name, whole, runner, begin):
    case, undisturbed, rng = CASES[name], whole(name), random.Random(name)
    folder = begin(name)
    files = [at for at, kind in enumerate(undisturbed.changes, 1) if kind[:3] == "os."]
    for at in sorted([*rng.sample(files, min(2, len(files))), len(undisturbed.changes) - 1]):
        ended = runner.run(case.script, *case.argv, cwd=folder, at=at)
        assert ended.status in (-9, case.status)
        check_between(runner, folder, undisturbed)
        if ended.status == case.status or state(folder) == undisturbed.left:
            break
    check_again(runner, folder, name, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("name", CASES)
def test_ended_by_a_signal_it_says_one_sentence_and_run_again_it_ends_as_if_undisturbed(
    name, number, status, whole, runner, begin
):
    case, undisturbed = CASES[name], whole(name)

    # In SQLite's own calls of Python an exception would be lost, so these are instants of files.
    def of_files(kinds):
        return [kind if kind[:4] in ("open", "os.r", "os.m") else "" for kind in kinds]

    kinds = of_files(undisturbed.changes)
    for at in instants(kinds, random.Random(name), 0, 2 if name in HEAVY else None):
        folder = begin(name)
        ended = runner.run(case.script, *case.argv, cwd=folder, at=at, number=number)
        # Pictures are stored by the clock, so that this run may have fewer changes.
        has_come = ended.status != case.status or any(of_files(ended.changes)[at - 1 : at])
        if kinds[at - 1] and has_come:
            assert ended.status == status and "run the same command again" in ended.stderr
        assert "Traceback" not in ended.stderr
        check_between(runner, folder, undisturbed)
        check_again(runner, folder, name, undisturbed)


# ---- two at once --------------------------------------------------------------------------------

PAIRS = (
    ("apply", "apply"),
    ("apply", "load changed"),
    ("apply", "recategorize"),
    ("apply", "overrides"),
    ("recategorize", "apply"),
    ("recategorize", "overrides"),
    ("words", "recategorize"),
    ("words", "words"),
    ("load changed", "apply"),
    ("load again", "recategorize"),
)


@pytest.fixture(scope="module")
def second_runner():
    runner = Runner()
    yield runner
    runner.close()


def in_turn(runner, folder, *names):
    """Run cases one after the other. Returns what they leave."""
    for name in names:
        runner.run(CASES[name].script, *CASES[name].argv, cwd=folder)
    return state(folder)


@pytest.mark.slow
@pytest.mark.parametrize(
    "stopped, other", [pytest.param(*PAIRS[0], marks=pytest.mark.redteam), *PAIRS[1:]]
)
def test_two_at_once_leave_what_one_after_the_other_leaves(
    stopped, other, runner, second_runner, stages, tmp_path
):
    """One is stopped before its transactions, while the other runs to its end, and before each
    commit, while the other waits."""

    folder = tmp_path / "shop"

    def begin():
        shutil.rmtree(folder, ignore_errors=True)
        return shutil.copytree(stages / "waiting", folder)

    one, two = CASES[stopped], CASES[other]
    again = [name for name in ("apply",) if name in (stopped, other)]  # it files what changed
    changes = runner.run(one.script, *one.argv, cwd=begin()).changes
    orders = [
        in_turn(runner, begin(), *turn, *again) for turn in ((stopped, other), (other, stopped))
    ]
    for at, kind in enumerate(changes, 1):
        if not kind.startswith(("begin", "commit")):
            continue
        process = runner.begin(one.script, *one.argv, cwd=begin(), at=at, number=signal.SIGSTOP)
        while not is_stopped(process):
            time.sleep(0.01)
        second_runner.begin(two.script, *two.argv, cwd=folder)
        if kind.startswith("begin"):
            second = second_runner.end()
        else:
            time.sleep(1)
        os.kill(process, signal.SIGCONT)
        first = runner.end()
        if kind.startswith("commit"):
            second = second_runner.end()
        assert (first.status, second.status) == (0, 0), first.stderr + second.stderr
        left = in_turn(runner, folder, *again)
        models_known(folder)
        assert left in orders, (at, kind)
