"""How fast crawl.py loads a large feed, how much memory that takes, and what bounds it.

In: nothing; it writes feeds of its own, 1,000 categories, 60 words a product. Out, on stdout: for
each number of rows a table of the whole command, into a new crawl.db and once more into the same
one, beside csv.reader alone over the same file and sqlite3's .import of it. They take turns, so that
they share what the machine does beside. The ratio is to csv.reader in the same turn. Then rows a
second of the same products as XML, JSON Lines and XLSX.

    python benchmarks/feed_rows.py
    python benchmarks/feed_rows.py --rows 10000,100000 --repeat 3
"""

import argparse
import itertools
import json
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLUMNS = ("id", "title", "description", "product_type", "item_group_id")
MOST_ROWS_OF_OTHER_FORMATS = 100_000
READ_CSV = """
import collections, csv
with open("feed.tsv", encoding="utf-8", newline="") as file:
    collections.deque(csv.reader(file, delimiter="\\t", quoting=csv.QUOTE_NONE), maxlen=0)
"""

# ---- feeds --------------------------------------------------------------------------------------


def draw(rows):
    """Yield rows of cells in the order of COLUMNS."""
    rng = random.Random(0)
    words = [f"word{number}" for number in range(20_000)]
    for number in range(rows):
        leaf = number % 1000
        yield (
            str(number),
            " ".join(rng.choices(words, k=6)),
            " ".join(rng.choices(words, k=54)),
            f"Top {leaf % 40} > Leaf {leaf}",
            str(number // 3),
        )


def write_tsv(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for cells in itertools.chain([COLUMNS], draw(rows)):
            file.write("\t".join(cells) + "\n")


def write_json_lines(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        for cells in draw(rows):
            file.write(json.dumps(dict(zip(COLUMNS, cells))) + "\n")


def write_xml(path, rows):
    with open(path, "w", encoding="utf-8") as file:
        file.write('<rss xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for cells in draw(rows):
            elements = (
                f"<g:{name}>{cell.replace('>', '&gt;')}</g:{name}>"
                for name, cell in zip(COLUMNS, cells)
            )
            file.write(f"<item>{''.join(elements)}</item>\n")
        file.write("</channel></rss>\n")


def write_xlsx(path, rows):
    """The least that a spreadsheet is made of: one sheet, its texts in the cells themselves."""
    head = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
    office = "http://schemas.openxmlformats.org"
    main = f'xmlns="{office}/spreadsheetml/2006/main"'
    linked = f"{office}/officeDocument/2006/relationships"
    kind = "application/vnd.openxmlformats-officedocument.spreadsheetml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{office}/package/2006/content-types"><Default '
        'Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/xl/workbook.xml" ContentType="{kind}.sheet.main+xml"/><Override '
        f'PartName="/xl/worksheets/sheet1.xml" ContentType="{kind}.worksheet+xml"/></Types>',
        "_rels/.rels": relationship(f"{linked}/officeDocument", "xl/workbook.xml"),
        "xl/workbook.xml": f'<workbook {main} xmlns:r="{linked}"><sheets><sheet name="Products" '
        'sheetId="1" r:id="rId1"/></sheets></workbook>',
        "xl/_rels/workbook.xml.rels": relationship(f"{linked}/worksheet", "worksheets/sheet1.xml"),
    }
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, text in parts.items():
            archive.writestr(name, head + text)
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as sheet:
            sheet.write(f"{head}<worksheet {main}><sheetData>".encode())
            for line, cells in enumerate(itertools.chain([COLUMNS], draw(rows)), 1):
                texts = (
                    f'<c r="{letter}{line}" t="inlineStr"><is><t>'
                    f"{cell.replace('>', '&gt;')}</t></is></c>"
                    for letter, cell in zip("ABCDE", cells)
                )
                sheet.write(f'<row r="{line}">{"".join(texts)}</row>'.encode())
            sheet.write(b"</sheetData></worksheet>")


def relationship(kind, target):
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{kind}" Target="{target}"/></Relationships>'
    )


# ---- times --------------------------------------------------------------------------------------


def timed(folder, *command):
    """(seconds, peak memory in MB) of a command that is run in a folder; None if it fails. The
    memory is never less than this process's own, which is therefore kept small."""
    began = time.monotonic()
    pid = os.fork()
    if not pid:
        os.chdir(folder)
        for stream in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
        os.execvp(command[0], list(map(str, command)))
    _, status, usage = os.wait4(pid, 0)
    if status:
        return None
    return time.monotonic() - began, usage.ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def load(folder, name, is_new):
    """The time of crawl.py for a feed in this folder."""
    if is_new:
        for file in Path(folder).glob("crawl.db*"):
            file.unlink()
    return timed(folder, sys.executable, ROOT / "crawl.py", "--feed", name)


def import_table(folder):
    """The time of sqlite3's .import of the feed into a new file, without an index."""
    (Path(folder) / "import.db").unlink(missing_ok=True)
    return timed(folder, "sqlite3", "import.db", ".mode tabs", ".import feed.tsv feed")


def measure(rows, repeat):
    """Print the lines of the table for so many rows."""
    runs = {
        "csv.reader alone": lambda: timed(folder, sys.executable, "-c", READ_CSV),
        "sqlite3 .import": lambda: import_table(folder),
        "crawl.py, new": lambda: load(folder, "feed.tsv", True),
        "crawl.py, again": lambda: load(folder, "feed.tsv", False),
    }
    if not shutil.which("sqlite3"):
        print("the command sqlite3 is not installed: its .import is left out", file=sys.stderr)
        del runs["sqlite3 .import"]
    with tempfile.TemporaryDirectory() as folder:
        write_tsv(Path(folder) / "feed.tsv", rows)
        turns = [{name: run() for name, run in runs.items()} for _ in range(repeat)]
    for name in runs:
        if any(turn[name] is None for turn in turns):
            raise SystemExit(f"{name} failed")
        show(
            rows,
            f"TSV, {name}",
            [turn[name] for turn in turns],
            [t["csv.reader alone"] for t in turns],
        )


def measure_formats(rows, repeat):
    """Print a line of the table for each other format."""
    for label, name, write in (
        ("XML", "feed.xml", write_xml),
        ("JSON Lines", "feed.jsonl", write_json_lines),
        ("XLSX", "feed.xlsx", write_xlsx),
    ):
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / name, rows)
            times = [load(folder, name, True) for _ in range(repeat)]
        if None in times:
            print(f"| {rows:,} | {label}, crawl.py, new | not read | | | |")
        else:
            show(rows, f"{label}, crawl.py, new", times)


def show(rows, label, times, csv_times=()):
    """Print a line: median, smallest and largest of the seconds, and of their ratios."""
    seconds = [time_and_memory[0] for time_and_memory in times]
    ratios = [mine / alone[0] for mine, alone in zip(seconds, csv_times)]
    ratio = (
        f"{statistics.median(ratios):.1f} ({min(ratios):.1f}-{max(ratios):.1f})" if ratios else ""
    )
    middle = statistics.median(seconds)
    print(
        f"| {rows:,} | {label} | {middle:.1f} ({min(seconds):.1f}-{max(seconds):.1f}) | "
        f"{rows / middle:,.0f} | {ratio} | {max(memory for _, memory in times):.0f} MB |",
        flush=True,
    )


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--rows",
        default="10000,100000,1000000",
        metavar="N,N",
        help="(default: 10000,100000,1000000)",
    )
    parser.add_argument(
        "--repeat", type=int, default=5, metavar="N", help="turns for each figure (default: 5)"
    )
    args = parser.parse_args(argv)
    all_rows = list(map(int, args.rows.split(",")))
    print("| rows | | seconds | rows/s | ratio to csv.reader | peak memory |")
    print("|---|---|---|---|---|---|")
    for rows in all_rows:
        measure(rows, args.repeat)
    measure_formats(min(max(all_rows), MOST_ROWS_OF_OTHER_FORMATS), args.repeat)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
