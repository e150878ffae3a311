"""Where SQLite ends: how long each command takes on a crawl.db of up to ten million products.

In: nothing; it draws a catalogue of 1,000 leaves, two colours of each style, a picture of each
product, and a tenth as many more products that wait to be filed. The first products are loaded and
learned by the suite itself; the others, their pictures and predictions, and the answers for those
that wait are drawn, and inserted by the suite's own functions. Out, on stdout: for each number of
products the size of the file, and the seconds and the peak memory of each command; with --queries
also the query that took longest, and its seconds (the command then takes a little longer). The
tables of predictions have a row for each product (experiment 1, with folds) and for each tenth
(experiment 2, without). --keep leaves the folder, and --only runs some commands in it.

    python benchmarks/ten_million.py --products 100000,1000000
    python benchmarks/ten_million.py --products 1000000 --keep /large/disk --queries
    python benchmarks/ten_million.py --products 1000000 --keep /large/disk --only compare,status
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

LEAVES, COLOURS = 1000, 2
LEARNED = 20  # products of each leaf that are loaded and learned by the suite's own commands
BATCH = 10_000
ASKED = 10_000  # products that wait without an answer, and decisions of a person
HEADER = "id\ttitle\tdescription\tproduct_type\timage_link\titem_group_id\n"
OPEN = "import db; db.open_readonly('crawl.db')"
VERIFY = "import db; db.check_every_value(db.open_database('crawl.db'), 'crawl.db')"
# Run before a script: it writes the query that took longest, all its calls together, to a file.
TIMED_QUERIES = """
import atexit, collections, json, runpy, sqlite3, sys, time
spent, calls = collections.Counter(), collections.Counter()
class Cursor(sqlite3.Cursor):
    said = ""
    def timed(self, method, *args):
        began = time.perf_counter()
        try:
            return method(*args)
        finally:
            spent[self.said] += time.perf_counter() - began
    def execute(self, statement, *args):
        self.said = " ".join(statement.split())
        calls[self.said] += 1
        return self.timed(super().execute, statement, *args)
    def executemany(self, statement, *args):
        self.said = " ".join(statement.split())
        calls[self.said] += 1
        return self.timed(super().executemany, statement, *args)
    def __next__(self):
        return self.timed(super().__next__)
    def fetchone(self):
        return self.timed(super().fetchone)
    def fetchall(self):
        return self.timed(super().fetchall)
class Connection(sqlite3.Connection):
    def cursor(self, factory=Cursor):
        return super().cursor(factory)
plain = sqlite3.connect
sqlite3.connect = lambda *args, **named: plain(*args, factory=Connection, **named)
def write():
    rows = [(said, seconds, calls[said]) for said, seconds in spent.most_common(12)]
    json.dump(rows, open("queries.json", "w"))
atexit.register(write)
sys.path.insert(0, {root!r})
sys.argv = {argv!r}
"""

# ---- the catalogue ------------------------------------------------------------------------------


def drawn(first, last, labelled):
    """Yield lists of rows (number, name, description, category, group, leaf) of the products from
    `first` on, before `last`. Those behind the number `labelled` have no category."""
    import numpy as np

    from tests.trees import title, word

    words = np.array([word(5000 + number) for number in range(20_000)], object)
    colours = [word(9000 + number) for number in range(COLOURS)]
    leaf_words = np.random.default_rng(0).integers(4000, size=(LEAVES, 8))
    paths = [
        f"{title(leaf % 10)} > {title(100 + leaf % 100)} > {title(1000 + leaf)}"
        for leaf in range(LEAVES)
    ]
    for start in range(first, last, BATCH):
        numbers = np.arange(start, min(start + BATCH, last))
        styles = np.unique(numbers // COLOURS)
        rng = np.random.default_rng(start)
        place = rng.permuted(np.tile(np.arange(8), (len(styles), 1)), axis=1)
        said = words[leaf_words[styles % LEAVES][np.arange(len(styles))[:, None], place]]
        other = words[rng.integers(4000, 20_000, size=(len(styles), 9))]
        texts = {
            style: (" ".join([*own[:2], more[0]]), " ".join([*own[2:6], *more[1:]]))
            for style, own, more in zip(styles.tolist(), said.tolist(), other.tolist())
        }
        rows = []
        for number in numbers.tolist():
            style = number // COLOURS
            name, description = texts[style]
            named = f"{name} {colours[number % COLOURS]}"
            leaf = style % LEAVES
            category = paths[leaf] if number <= labelled else ""
            rows.append((number, named, description, category, f"s{style}", leaf))
        yield rows


def picture_of(number):
    return f"https://shop.example/pictures/{number}.jpg"


def write_feed(path, batches, link=picture_of):
    with open(path, "w", encoding="utf-8") as file:
        file.write(HEADER)
        for rows in batches:
            file.writelines(
                f"{number}\t{name}\t{description}\t{category}\t{link(number)}\t{group}\n"
                for number, name, description, category, group, _ in rows
            )


def changed(batches):
    """Each tenth product of batches, under another name."""
    for rows in batches:
        yield [(row[0], f"{row[1]} anew", *row[2:]) for row in rows if row[0] % 10 == 0]


def make(folder, products):
    """Write the feeds, and make crawl.db with two experiments and one model."""
    learned, waiting = LEARNED * LEAVES, products // 10
    last = products + waiting + 1
    os.chdir(folder)
    # Without links, or the pictures would be asked for.
    write_feed("learned.tsv", drawn(1, learned + 1, products), lambda number: "")
    write_feed("same.tsv", drawn(1, last, products))
    write_feed("tenth.tsv", changed(drawn(1, last, products)))
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    load = (ROOT / "crawl.py", "--feed", "learned.tsv")
    train = (ROOT / "categorize_words.py", "--min-products", "5", "--folds", "5", "--epochs", "2")
    for command in (load, train):
        subprocess.run([sys.executable, *command], **quiet)
    fill(products, learned, last)


def fill(products, learned, last):
    """Insert the rest of the products, and what experiments say of all."""
    import db
    from crawling import feed_queries, queries

    conn = db.open_database("crawl.db")
    conn.execute("pragma synchronous = off")
    with feed_queries.written_once(conn), db.transaction(conn):
        leaf_ids = [
            conn.execute(
                "select category_id from product where id = ?", (COLOURS * (leaf or LEAVES),)
            ).fetchone()[0]
            for leaf in range(LEAVES)
        ]
        indexes = conn.execute(
            """select name, sql from sqlite_master where type = 'index' and sql is not null
               and tbl_name in ('product', 'product_category', 'picture', 'predicted_category')"""
        ).fetchall()
        for name, _ in indexes:
            conn.execute(f"drop index {name}")
        add_products(conn, products, learned, last, leaf_ids)
        add_experiments(conn, products, last, leaf_ids)
        feed_queries.make_indexes(conn, [sql for _, sql in indexes])
        queries.count_products(conn)
    conn.close()
    Path("images/ab").mkdir(parents=True)
    Path("images/ab/1.jpg").touch()
    write_lines(products, leaf_ids)


def add_products(conn, products, learned, last, leaf_ids):
    """Insert the products behind the `learned` ones, before `last`, and the pictures of all."""
    from crawling import feed_queries

    for rows in drawn(learned + 1, last, products):
        feed_queries.insert_products(
            conn,
            [
                (
                    number,
                    leaf_ids[leaf] if category else None,
                    "feed",
                    str(number),
                    f"feed {group}",
                    name,
                    description,
                    picture_of(number),
                )
                for number, name, description, category, group, leaf in rows
            ],
        )
    conn.execute("update product set image_crawled = 1")
    conn.executemany(
        "update product set image = ? where id = ?",
        ((picture_of(number), number) for number in range(1, learned + 1)),
    )
    conn.execute(
        """insert into product_category(product_id, category_id, position)
           select id, category_id, 0 from product where id > ? and category_id is not null""",
        (learned,),
    )
    conn.execute(
        """insert into picture(product_id, path, sha256, status)
           select id, 'ab/1.jpg', lower(hex(randomblob(32))), 'ok' from product"""
    )


def add_experiments(conn, products, last, leaf_ids):
    """Replace what the experiment that was trained has said by predictions of all products, add one
    without folds, and the answers of the first for products that wait."""
    from evaluation import filing_queries
    from learning import queries

    settings = json.loads(conn.execute("select settings from experiment").fetchone()[0])
    for table in ("predicted_category", "validation_prediction", "near_duplicate", "experiment"):
        conn.execute(f"delete from {table}")
    conn.execute("delete from learned_product")
    conn.execute("delete from sqlite_sequence where name = 'experiment'")
    everything = range(1, products + 1)
    for given, tested, held in (
        (settings, lambda u: True, lambda u: False),
        (settings | {"folds": None}, lambda u: u < 0.1, lambda u: 0.1 <= u < 0.2),
    ):
        queries.insert_experiment(
            conn,
            "Text classification of: ",
            given,
            predictions(leaf_ids, everything, tested, given["folds"], ()),
            predictions(leaf_ids, everything, held, given["folds"], (1,)),
            None,
            (),
            everything,
        )
    for table in ("predicted_category", "validation_prediction"):
        conn.execute(f"update {table} set twin = 0")
    waiting = predictions(leaf_ids, range(products + 1, last - ASKED), lambda u: True, None, ())
    answers = ((*row[:3], *row[5:8], 16, 1, 1, 0) for row in waiting)
    filing_queries.store_answers(conn, 1, answers)


def predictions(leaf_ids, numbers, wanted, folds, more):
    """Yield rows as predictions.stored_rows does, and behind them `more`, for those of the products
    whose place in the split is wanted: nine of ten are right."""
    import numpy as np

    from learning.split import split_position

    parents = [leaf.rpartition(".")[0] for leaf in leaf_ids]
    for start in range(numbers.start, numbers.stop, BATCH):
        part = range(start, min(start + BATCH, numbers.stop))
        rng = np.random.default_rng(start)
        scores = np.clip(1 - rng.exponential(0.1, len(part)), 0.05, 1)
        right = (rng.random(len(part)) < scores).tolist()
        others = rng.integers(LEAVES, size=(len(part), 5)).tolist()
        for product, score, is_right, other in zip(part, scores.tolist(), right, others):
            style = product // COLOURS
            u = split_position(f"feed s{style}")
            if not wanted(u):
                continue
            label = style % LEAVES
            best = label if is_right else other[0]
            left = 1 - score
            top = [[leaf_ids[best], round(score, 6)]]
            top += [[leaf_ids[leaf], round(left / 4, 6)] for leaf in other[1:]]
            yield (
                product,
                leaf_ids[best],
                score,
                leaf_ids[label],
                score if is_right else left / 4,
                parents[best],
                score + left / 4,
                json.dumps(top),
                int(u * folds) if folds else 0,
                *more,
            )


def write_lines(products, leaf_ids):
    """Write the CSV files of decisions, of their undoing, and of a move."""
    for name, decision in (("decisions.csv", "label wrong"), ("undo.csv", "undecided")):
        with open(name, "w", encoding="utf-8") as file:
            file.write("product_id,decision,suggestion\n")
            for place in range(ASKED):
                number = 1 + place * (products // ASKED)
                leaf = leaf_ids[(number // COLOURS + 1) % LEAVES]
                file.write(f"{number},{decision},{leaf}\n")
    top = leaf_ids[0].partition(".")[0]
    Path("moves.csv").write_text(f"from,to\n{top},Another name\n", encoding="utf-8")


# ---- the commands -------------------------------------------------------------------------------


def commands():
    """{what it does: a command}, in an order that leaves each what it needs."""
    crawl, words, analyze = ROOT / "crawl.py", ROOT / "categorize_words.py", ROOT / "analyze.py"
    feed = (crawl, "--feed")
    return {
        "opening": ("-c", OPEN),
        "status": (crawl, "--status"),
        "verify (database)": ("-c", VERIFY),
        "feed, nothing changed": (*feed, "same.tsv"),
        "feed, a tenth, all changed": (*feed, "tenth.tsv"),
        "analyze": (analyze,),
        "experiments": (analyze, "--experiments"),
        "experiment": (analyze, "--experiment", 1, "--json"),
        "compare": (analyze, "--compare", 1, 2),
        "models": (analyze, "--models"),
        "page of errors": (analyze, "--dump-errors-for-experiment", 1, "-o", "errors.html"),
        "suspects": (analyze, "--label-suspects", 1),
        "apply": (words, "--apply", 1, "--target", 95),
        "review page": (analyze, "--review", 1, "-o", "review.html"),
        "decisions": (analyze, "--overrides", "decisions.csv"),
        "decisions undone": (analyze, "--overrides", "undo.csv"),
        "recategorize": (analyze, "--recategorize", "moves.csv"),
        "recategorize undone": (analyze, "--undo-recategorize"),
        "training of two leaves": (words, "--categories", "{two}", "--epochs", 1),
    }


def two_leaves(folder):
    """The ids of two leaves, as --categories takes them."""
    import db

    with contextlib.closing(db.connect(str(folder / "crawl.db"), "ro")) as conn:
        rows = conn.execute("select id from category where leaf = 1 order by id limit 2")
        return ",".join(row[0] for row in rows)


def python_code(command):
    """The code that runs a command with TIMED_QUERIES."""
    argv = list(map(str, command))
    code = TIMED_QUERIES.format(root=str(ROOT), argv=argv)
    if argv[0] == "-c":
        return code + argv[1]
    return code + f"runpy.run_path({argv[0]!r}, run_name='__main__')"


def timed(folder, *command):
    """(seconds, seconds of a core, peak memory in MB) of a command that is run in a folder; None if
    it fails. What it prints is left in the folder. The memory is never less than this process's
    own, which is therefore kept small."""
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
        os.execvp(command[0], list(map(str, command)))
    _, status, usage = os.wait4(pid, 0)
    if status:
        return None
    seconds, cpu = time.monotonic() - began, usage.ru_utime + usage.ru_stime
    return seconds, cpu, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def measure(folder, products, only, with_queries):
    """Print the lines of the table for so many products."""
    size = os.path.getsize(folder / "crawl.db") / 1e9
    print(f"| {products:,} | size of crawl.db | | | {size:.2f} GB | |", flush=True)
    for name, command in commands().items():
        if only and name not in only:
            continue
        command = [two_leaves(folder) if part == "{two}" else part for part in command]
        if with_queries:
            command = ["-c", python_code(command)]
        taken = timed(folder, "env", f"PYTHONPATH={ROOT}", sys.executable, *command)
        result = "failed | |" if taken is None else "{:.1f} | {:.1f} | {:.0f} MB".format(*taken)
        slowest = ""
        if with_queries and taken:
            queries = json.loads((folder / "queries.json").read_text())
            (folder / f"queries {name}.json").write_text(json.dumps(queries, indent=1))
            slowest = f"{queries[0][1]:.1f} s: {queries[0][0][:100]}" if queries else ""
        print(f"| {products:,} | {name} | {result} | {slowest} |", flush=True)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--products", default="100000,1000000", metavar="N,N")
    parser.add_argument("--keep", metavar="DIR", help="make the files there, or take those there")
    parser.add_argument("--only", metavar="A,B", help="run these commands alone")
    parser.add_argument("--queries", action="store_true", help="name the slowest query of each")
    args = parser.parse_args(argv)
    print("| products | | seconds | of a core | peak memory | slowest query |")
    print("|---|---|---|---|---|---|", flush=True)
    for products in map(int, args.products.split(",")):
        with contextlib.ExitStack() as stack:
            if args.keep:
                folder = Path(args.keep) / str(products)
            else:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            if not (folder / "crawl.db").exists():
                folder.mkdir(parents=True, exist_ok=True)
                # In another process, since the memory of a command is never less than this one's.
                maker = multiprocessing.get_context("fork").Process(
                    target=make, args=(folder, products)
                )
                maker.start()
                maker.join()
                if maker.exitcode:
                    shutil.rmtree(folder)
                    raise SystemExit("the files could not be made")
            measure(folder, products, args.only and args.only.split(","), args.queries)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
