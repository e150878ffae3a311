"""Where SQLite ends: how long each command takes on a crawl.db of up to ten million products.

In: nothing; ten_million_catalogue.py draws the catalogue. Out, on stdout: for each number of products
the size of the file, and the seconds and the peak memory of each command; with --queries also the
query that took longest, and its seconds (the command then takes a little longer). The tables of
predictions have a row for each product (experiment 1, with folds) and for each tenth (experiment 2,
without). --keep leaves the folder, and --only runs some commands in it.

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
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
import ten_million_catalogue

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
                    target=ten_million_catalogue.make, args=(folder, products)
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
