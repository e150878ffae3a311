"""Files and folders: where they are, and how they are written.

In and out: paths.
"""
import os


def images_folder(db_path, asked=None):
    """The folder of the pictures: the one asked for (--images-path), else images/ beside crawl.db.
    An images/ in the current folder counts as long as there is none beside crawl.db, since all
    pictures went there before."""
    beside = os.path.join(os.path.dirname(db_path), "images")
    if asked is not None:
        return asked
    return "images" if os.path.isdir("images") and not os.path.isdir(beside) else beside
