"""How long --apply takes to file a million products, and how much memory.

In: a crawl.db with an experiment of categorize_words.py. Out, on stdout: seconds, of the clock and
of a core, products a second and peak memory for growing numbers of products without a category,
which are the catalogue's own texts over and over in a copy of the file.

    python benchmarks/filing.py --experiment 1
    python benchmarks/filing.py --experiment 1 --products 10000,100000,1000000
"""

import argparse
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from learning import model_folders  # noqa: E402


def multiply(path, count):
    """Leave `count` products without a category in a crawl.db, made of those that it has."""
    conn = sqlite3.connect(path)
    with conn:
        conn.execute("delete from filing")
        conn.execute("delete from product where source = 'again'")
        own, top = conn.execute("select count(*), max(id) from product").fetchone()
        for turn in range(-(-count // own)):
            conn.execute(
                """insert into product(id, source, external_id, group_key, name, description,
                            image) select ? * ? + id, 'again', ? || ' ' || id, ? || group_key, name,
                            description, '' from product where source <> 'again' order by id
                            limit ?""",
                (turn + 1, top + 1, turn, turn, count - turn * own),
            )
    conn.close()


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--experiment", required=True, metavar="N")
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE")
    parser.add_argument(
        "--products", default="100000,1000000", metavar="N,N", help="(default: 100000,1000000)"
    )
    args = parser.parse_args(argv)
    print(
        "| products | seconds | of a core | a second | peak MB |\n|---|---|---|---|---|", flush=True
    )
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(args.db_path))) as folder:
        copy = Path(folder) / "crawl.db"
        source, target = sqlite3.connect(args.db_path), sqlite3.connect(copy)
        source.backup(target)
        target.close()
        sys.path.insert(0, str(ROOT))
        import db

        db.open_database(str(copy)).close()  # an older file's tables
        shutil.copytree(
            model_folders.models_folder(args.db_path), model_folders.models_folder(str(copy))
        )
        for count in map(int, args.products.split(",")):
            multiply(copy, count)
            began = time.monotonic()
            with open(Path(folder) / "filed.csv", "w") as out:
                done = subprocess.Popen(
                    [
                        sys.executable,
                        ROOT / "categorize_words.py",
                        "--db-path",
                        copy,
                        "--apply",
                        args.experiment,
                        "--file-anyway",
                    ],
                    stdout=out,
                    stderr=subprocess.DEVNULL,
                )
                _, status, usage = os.wait4(done.pid, 0)
            seconds = time.monotonic() - began
            with open(Path(folder) / "filed.csv", newline="") as out:
                lines = sum(1 for _ in out)
            assert status in (0, 256) and lines >= count, (status, lines)
            print(
                f"| {count:,} | {seconds:.1f} | "
                f"{usage.ru_utime + usage.ru_stime:.1f} | {count / seconds:,.0f} | "
                f"{usage.ru_maxrss / 1000:.0f} |",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
