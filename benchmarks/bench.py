"""Every stage in a short form, on this machine: seconds, memory, and ratios to what others do.

In: nothing; the catalogues are drawn, and so are pictures, unless --pictures names a folder of
them. Out, on stdout and as results/bench.md: the machine and the versions, then for each stage its
command and the table that it printed. A benchmark that fails is told, and the others go on. The
first run takes longer, for the rivals get virtual environments of their own.

    make bench
    python benchmarks/bench.py --pictures DIR --weights FILE --layer mixed8 --only pictures
"""

import argparse
import contextlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from common.terminal import VERSION, UserError, log, run  # noqa: E402

PACKAGES = "tensorflow", "keras", "numpy", "scipy", "scikit-learn", "Pillow"
PICTURES = 96  # that are drawn
STAGES = {  # name: (what it says, script, flags)
    "text": (
        "Training on text, whole commands, beside two rivals",
        ("text.py", "--products", "50000", "--rounds", "2", "--short"),
    ),
    "pictures": (
        "Pictures to bottlenecks, beside two rivals",
        ("pictures.py", "--number", "96", "--rounds", "3"),
    ),
    "analyze": (
        "analyze.py on a table of predictions, beside 2016's search of a threshold in a loop",
        ("block.py", "--products", "100000", "--rounds", "1"),
    ),
    "load": (
        "Loading a feed, beside csv.reader and sqlite3's .import",
        ("feed_rows.py", "--rows", "10000,50000", "--repeat", "1"),
    ),
    "commands": (
        "The commands on catalogues that grow, --apply among them",
        ("ten_million.py", "--products", "10000,100000"),
    ),
}


def machine():
    """Lines of Markdown about where this runs."""
    with contextlib.suppress(OSError):
        name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return (
        f"{name[1] if name else platform.processor()}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"{platform.system()}.\nPython {platform.python_version()}, {versions}.\n"
        f"Product Classifier {VERSION}{commit()}, {time.strftime('%Y-%m-%d %H:%M')}."
    )


def commit():
    """The commit that is measured, as text; empty without git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    with contextlib.suppress(OSError):
        said = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        return f", commit {said}" if said else ""
    return ""


def draw_pictures(folder):
    """Leave pictures in a folder, as large as a shop's, of areas that differ smoothly."""
    rng = np.random.default_rng(0)
    for number in range(PICTURES):
        small = Image.fromarray(rng.integers(0, 256, (12, 8, 3), np.uint8))
        small.resize((400, 600), Image.Resampling.BICUBIC).save(Path(folder) / f"{number}.jpg")


def measured(name, flags):
    """(the Markdown that a benchmark printed, seconds); None instead where it failed, which is
    told."""
    title, (script, *own) = STAGES[name]
    log(f"{name}: {title}")
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / script, *own, *flags],
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        log(f"{name}: failed, see above")
        return None
    shown = " ".join(["python", f"benchmarks/{script}", *own])
    seconds = time.monotonic() - began
    return f"## {title}\n\n    {shown}\n\n{done.stdout.strip()}\n\n({seconds:.0f} s)\n"


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--pictures", metavar="DIR", help="(default: some that are drawn)")
    parser.add_argument("--weights", metavar="FILE", help="of the network (default: random ones)")
    parser.add_argument("--layer", help="where the network is cut")
    parser.add_argument("--only", metavar="A,B", help=f"of {', '.join(STAGES)} (default: all)")
    parser.add_argument(
        "--output",
        default=ROOT / "results" / "bench.md",
        metavar="FILE",
        help="where it is written too (default: results/bench.md)",
    )
    args = parser.parse_args(argv)
    names = args.only.split(",") if args.only else list(STAGES)
    if unknown := [name for name in names if name not in STAGES]:
        raise UserError(f"--only {unknown[0]}: there is {', '.join(STAGES)}")
    with tempfile.TemporaryDirectory() as folder:
        if not args.pictures:
            draw_pictures(folder)
        given = {"--pictures": args.pictures or folder}
        given.update({"--weights": args.weights, "--layer": args.layer})
        flags = [part for flag, value in given.items() if value for part in (flag, value)]
        tables = [measured(name, flags if name == "pictures" else []) for name in names]
    command = f"python benchmarks/bench.py --only {args.only}" if args.only else "make bench"
    text = "\n".join([f"# Benchmarks\n\n    {command}\n\n{machine()}\n", *filter(None, tables)])
    Path(args.output).write_text(text, encoding="utf-8")
    print(text)
    return 0 if all(tables) else 1


if __name__ == "__main__":
    raise SystemExit(run(main))
