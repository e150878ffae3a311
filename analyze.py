"""Print what each experiment reached, or write the errors it was surest of as an HTML page.

In: crawl.db, which is only read (one of an older version is brought up to date first). Out, on
stdout: for each experiment its accuracy and its coverage, the share of products that a machine may
file by itself at 95 % and 98 % accuracy, for leaves and for their parents.

    python analyze.py
    python analyze.py --dump-errors-for-experiment 2 > errors.html
"""
import argparse
import base64
import io
import os
import warnings

import db
import metrics
from console import log, run

THUMBNAIL = (160, 205)   # pixels at the most


def measure(conn, number, parents):
    """The six lines of figures of one experiment. The parent of a prediction is the predicted
    leaf's parent, with the leaf's score."""
    import numpy as np
    rows = db.predictions(conn, number)
    score = np.array([row[0] for row in rows], float)
    right = np.array([row[1] == row[2] for row in rows])
    above = np.array([parents.get(row[1], row[1]) == parents.get(row[2], row[2]) for row in rows])
    return metrics.summary(score, right, above)


def thumbnail(row, images_path):
    """A picture's data URI, small; without a file that can be read the shop's own http(s) URL, and
    without that None."""
    from PIL import Image, ImageOps
    try:
        with Image.open(os.path.join(images_path, row["picture"])) as picture:
            picture.draft("RGB", THUMBNAIL)
            small = ImageOps.exif_transpose(picture).convert("RGB")
            small.thumbnail(THUMBNAIL)
            data = io.BytesIO()
            small.save(data, "JPEG", quality=80)
            return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()
    except Exception:   # there is no file, or Pillow's decoders raise whatever comes up
        link = row["image"] or ""
        return link if link.lower().startswith(("http://", "https://")) else None


def error_page(conn, number, images_path, top):
    """HTML of the `top` wrong predictions with the highest scores of one experiment."""
    import jinja2
    folder = os.path.join(os.path.dirname(os.path.realpath(__file__)), "templates")
    # autoescape as such, because select_autoescape goes by file names and misses some.
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(folder), autoescape=True,
                                     undefined=jinja2.StrictUndefined)
    experiment = db.experiment(conn, number)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")   # Pillow's own, of odd files that it reads all the same
        errors = [{**row, "picture": thumbnail(row, images_path)}
                  for row in map(dict, db.surest_errors(conn, number, top))]
    return environment.get_template("errors.html").render(
        number=number, name=experiment["name"] or "", date=experiment["date"], errors=errors,
        summary=measure(conn, number, db.parents(conn)))


def parse(argv):
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--db-path", default="crawl.db", metavar="FILE",
                        help="the SQLite file with the experiments (default: crawl.db)")
    parser.add_argument("--images-path", default="images", metavar="DIR",
                        help="folder of the pictures for the page (default: images)")
    parser.add_argument("--dump-errors-for-experiment", type=int, metavar="N",
                        help="print an HTML page of the 500 wrong predictions with the highest "
                        "scores of experiment N")
    return parser.parse_args(argv)


def main(argv=None):
    args = parse(argv)
    conn = db.open_readonly(args.db_path)
    if args.dump_errors_for_experiment is not None:
        print(error_page(conn, args.dump_errors_for_experiment, args.images_path, 500))
        return 0
    parents, found = db.parents(conn), db.experiments(conn)
    if not found:
        log("there are no predictions yet: run categorize_words.py, or one of its sisters")
    for experiment in found:
        print(f"#{experiment['id']}: {experiment['name'] or ''}")
        print(*measure(conn, experiment["id"], parents), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(run(main))
