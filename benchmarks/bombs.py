"""How much memory crawl.py and the loading of models take for files that are made to fill it.

In: nothing; it draws the files, 400 MB for the pictures alone. Out, on stdout: for each file
its size, the peak memory and the seconds of the process that reads it, and the last sentence on
stderr. Linux only.

    python benchmarks/bombs.py
    python benchmarks/bombs.py --only pictures
"""

import argparse
import io
import json
import random
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "tests"))

from peak import peak_of_code, peak_of_script
from PIL import Image

SIDE = 5000  # pixels; a square of it is the largest picture


# ---- pictures -----------------------------------------------------------------------------------


def kinds_of_pictures():
    """{file name: bytes} of pictures as large as they may be, in pixels or in bytes."""
    largest, large = (SIDE, SIDE), (2800, 2800)
    noise = Image.frombytes("RGB", (2500, 2500), random.Random(0).randbytes(3 * 2500**2))
    lossless = {"lossless": True, "quality": 0, "method": 0}
    pictures = (
        ("webp", Image.new("RGBA", largest), lossless),
        ("png", Image.new("RGBA", largest), {}),
        ("png", Image.new("I;16", largest), {}),
        ("jpg", Image.new("CMYK", largest), {}),
        ("gif", Image.new("P", largest), {}),
        ("tif", Image.new("F", largest), {"compression": "tiff_lzw"}),
        ("avif", Image.new("RGB", largest), {"speed": 10}),
        ("webp", Image.new("RGBA", large, (1, 2, 3, 4)), {"quality": 50}),
        ("jpg", Image.new("RGB", large), {"progressive": True}),
        ("webp", noise, lossless),
        ("png", noise, {"compress_level": 0}),
    )
    files = {}
    for number, (suffix, picture, options) in enumerate(pictures):
        data = io.BytesIO()
        picture.save(data, Image.registered_extensions()[f".{suffix}"], **options)
        files[f"{number}.{suffix}"] = data.getvalue()
    return files


def draw_pictures(folder, times=10):
    """A feed of each kind of picture, so many times, each with other bytes behind its end."""
    rows = ["id\ttitle\tproduct_type\timage_link"]
    for name, data in kinds_of_pictures().items():
        for turn in range(times):
            (folder / f"{turn}-{name}").write_bytes(data + b"\0" * turn)
            rows.append(f"{turn}-{name}\tCap\tHats\t{turn}-{name}")
    return written(folder / "feed.tsv", "\n".join(rows))


# ---- feeds --------------------------------------------------------------------------------------


def written(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def draw_category(folder):
    """One row of 50 levels of 79,000 letters."""
    levels = " > ".join(chr(97 + level % 26) * 79_000 for level in range(50))
    return written(folder / "feed.tsv", f"id\ttitle\tproduct_type\n1\tCap\t{levels}\n")


def draw_empty_lists(folder):
    return written(folder / "feed.json", "[" + ",".join(["[]"] * 13_000_000) + "]")


def draw_names_of_json(folder):
    """A million products, each with a name of its own."""
    rows = (
        json.dumps({"id": number, "title": "Cap", f"x{number}": 1}) for number in range(1_000_000)
    )
    return written(folder / "feed.jsonl", "\n".join(rows))


def draw_names_of_xml(folder):
    items = "".join(
        f"<item><id>{n}</id><title>Cap</title><e{n}>x</e{n}></item>" for n in range(250_000)
    )
    return written(folder / "feed.xml", f"<channel>{items}</channel>")


def draw_text(folder):
    """A text of 2.1 MB, then 180,000 small products."""
    products = ",".join(f'{{"id": {n}, "title": "Cap {n}"}}' for n in range(180_000))
    note = "x" * 2_100_000
    return written(folder / "feed.json", f'[{{"id": "z", "title": "{note}"}},{products}]')


def draw_zip(folder):
    """A zip of 300,000 files."""
    with zipfile.ZipFile(folder / "feed.zip", "w") as archive:
        for number in range(300_000):
            archive.writestr(f"{number}.csv", "id,title\n")
    return folder / "feed.zip"


# ---- models -------------------------------------------------------------------------------------


def draw_description(folder):
    """A model.json of 99 MB."""
    written(folder / "model.json", "[" + "[]," * 33_000_000 + "[]]")
    (folder / "weights.npz").write_bytes(b"")
    return folder / "model.json"


def draw_labels(folder):
    """A .keras file whose labels.json unpacks to 1.2 GB."""
    with zipfile.ZipFile(folder / "network.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        with archive.open("labels.json", "w", force_zip64=True) as file:
            for _ in range(1_200):
                file.write(b"[]," * 333_333)
    return folder / "network.keras"


BOMBS = {
    "pictures": (draw_pictures, "crawl.py --feed"),
    "a category of 50 levels of 79,000 letters": (draw_category, "crawl.py --feed"),
    "39 MB of `[],[]`": (draw_empty_lists, "crawl.py --feed"),
    "JSON Lines of a million names": (draw_names_of_json, "crawl.py --feed"),
    "XML of 250,000 names": (draw_names_of_xml, "crawl.py --feed"),
    "JSON: a text of 2.1 MB, then 180,000 products": (draw_text, "crawl.py --feed"),
    "a zip of 300,000 files": (draw_zip, "crawl.py --feed"),
    "a `model.json` of 99 MB": (draw_description, "saved_models.load_model"),
    "a `labels.json` that unpacks to 1.2 GB": (draw_labels, "retrain.py --label_image"),
}


def read(command, path, folder):
    """The Peak of the process that reads a file."""
    if command == "crawl.py --feed":
        return peak_of_script("crawl", "--feed", path.name, cwd=folder, timeout=600)
    if command == "retrain.py --label_image":
        written(folder / "picture.jpg", "")
        arguments = ("--label_image", "picture.jpg", "--output_graph", path.name)
        return peak_of_script("retrain", *arguments, cwd=folder, timeout=600)
    code = (
        "from common.terminal import run\n"
        "from learning import saved_models\n"
        "sys.exit(run(lambda: saved_models.load_model('.') and 0))"
    )
    return peak_of_code(code, cwd=folder, timeout=600)


def main(argv=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only files whose names have these words")
    args = parser.parse_args(argv)
    print("| file | MB | read by | peak, MB | s | exit | it says |\n|---|---|---|---|---|---|---|")
    for name, (draw, command) in BOMBS.items():
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            path = draw(folder)
            size = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
            began = time.monotonic()
            peak = read(command, path, folder)
            seconds = time.monotonic() - began
        said = (peak.stderr.strip() or "nothing").splitlines()[-1][:100]
        print(
            f"| {name} | {size:.1f} | `{command}` | {peak.megabytes:.0f} | {seconds:.1f} |"
            f" {peak.status} | {said} |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
