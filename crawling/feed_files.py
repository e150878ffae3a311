"""Which files a feed has. In: what --feed names on this machine: a file, a folder, a pattern such
as feeds/*.csv, or a zip. Out: its files, in the order of their names.

In a folder or zip may stand what is no feed: pictures, a README, a list of shops. It is passed over
and named. All files of one feed are of one shop.

    python crawl.py --feed catalogue/
    python crawl.py --feed 'feeds/*.csv.gz'
"""

from __future__ import annotations

import glob
import itertools
import os
import re
import zipfile
from collections.abc import Iterable, Iterator, Sequence

from common.terminal import FEW, UserError, counted, first_few, log
from crawling.feed_bytes import is_archive, members, open_zip
from crawling.feed_columns import header_rank
from crawling.feed_formats import read_feed_rows
from crawling.feed_types import FeedFile, LeftOut, ReadOptions

LOOKED_AT = 20  # rows of a file
MOST_MEMBERS = 500  # of zips, that may be feeds
# To open one is to read the list of all, several times: so many names take a minute.
MOST_NAMES_READ = 1_000_000
# What is never a catalogue, so that a folder of a million pictures costs no time.
NO_FEED = re.compile(
    r"(.*\.(jpe?g|png|gif|webp|avif|bmp|tiff?|svg|ico|mp4|pdf|docx?|pptx?|py|pyc|php|js|css|sh|db|"
    r"md|log|exe|sqlite3?))|((readme|licen[cs]e|changelog|copying|notice)(\.txt)?)",
    re.I,
)


def feed_files(
    addresses: Sequence[str],
    options: ReadOptions = ReadOptions(),  # noqa: B008  # it can't be changed
) -> list[FeedFile]:
    """The files of a feed, sorted by name for each address. Raises UserError if an address names
    no file, or no file that is a feed."""
    files: dict[FeedFile, None] = {}
    for address in addresses:
        candidates = list(candidates_at(address))
        if len(candidates) == 1 and os.path.isfile(address):
            files.update(dict.fromkeys(candidates))  # what is wrong with it is said when it is read
        else:
            files.update(dict.fromkeys(feeds_among(candidates, address, options)))
    return list(files)


def without_repeats(files: Iterable[FeedFile]) -> list[FeedFile]:
    """Files that may be named twice: by a path and by their folder, or by a link."""
    by_place: dict[tuple[str, str | None], FeedFile] = {}
    for file in files:
        by_place.setdefault((os.path.realpath(file.path), file.member), file)
    return list(by_place.values())


def candidates_at(address: str) -> Iterator[FeedFile]:
    """The files that an address names."""
    if os.path.isdir(address):
        names = sorted(name for name in os.listdir(address) if not name.startswith("."))
        paths = [os.path.join(address, name) for name in names]
    elif os.path.exists(address):
        paths = [address]
        if not os.path.isfile(address):  # a pipe can't be read twice
            raise UserError(f"{address} is no file: save what comes out of it, and load that")
    elif glob.has_magic(address):
        paths = sorted(glob.glob(address))
        if not paths:
            raise UserError(f"no file is called {address}: --feed takes a catalogue")
    else:
        raise UserError(f"{address}: there is no such file or folder; --feed takes a catalogue")
    for path in paths:
        if os.path.isfile(path):
            yield from files_in(path)


def files_in(path: str) -> Iterator[FeedFile]:
    """The members of a zip of several files; otherwise the file itself."""
    inside: list[zipfile.ZipInfo] = []
    try:
        with open(path, "rb") as file:
            if is_archive(file):
                with open_zip(file) as archive:
                    inside = members(archive)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError, UserError):
        pass  # what is wrong with it is said when it is read
    if len(inside) < 2:
        yield FeedFile(path, None, path)
        return
    for info in inside:
        yield FeedFile(path, info.filename, f"{path} ({info.filename[:100]})")


def feeds_among(
    candidates: Sequence[FeedFile], address: str, options: ReadOptions
) -> list[FeedFile]:
    """Those of several files that are feeds. The others are named in the log."""
    usable = [
        file
        for file in candidates
        if not NO_FEED.fullmatch(os.path.basename(file.member or file.path))
    ]
    in_zips = sum(file.member is not None for file in usable)
    in_all = sum(file.member is not None for file in candidates)
    if in_zips > MOST_MEMBERS or in_zips * in_all > MOST_NAMES_READ:
        raise UserError(
            f"{address} holds {in_zips:,} files that may be feeds in a zip, among {in_all:,}, which "
            "is too many: unpack it, and load the folder"
        )
    ranks: dict[FeedFile, int] = {}
    errors: dict[FeedFile, UserError] = {}
    for file in usable:
        try:
            ranks[file] = rank_of(file, options)
        except UserError as error:
            errors[file] = error
    feeds = [file for file, rank in ranks.items() if rank >= 2] or [
        file for file, rank in ranks.items() if rank
    ]
    if not feeds and len(ranks) + len(errors) == 1:  # say what is wrong with it
        feeds = [*ranks, *errors]
    if not feeds:
        found = first_few([os.path.basename(file.member or file.path) for file in candidates])
        raise UserError(
            f"{address} holds no catalogue: --feed takes a file of products, or a folder of such "
            f"files; found: {found or 'no file'}"
        )
    passed_over = [file for file in candidates if file not in feeds and file not in errors]
    if passed_over:
        names = [os.path.basename(file.member or file.path)[:100] for file in passed_over]
        log(
            f"{address}: {counted(len(names), 'file')} passed over, because no products are in "
            f"{'it' if len(names) == 1 else 'them'}: {first_few(names)}"
        )
    for file, reason in list(errors.items())[:FEW]:
        if file not in feeds:
            log(f"passed over: {reason}")
    if len(errors) > FEW:
        log(f"{address}: {counted(len(errors) - FEW, 'more file')} could not be read either")
    return feeds


def rank_of(file: FeedFile, options: ReadOptions) -> int:
    """How surely a file is a feed, by header_rank of the columns of its first rows."""
    names: dict[str, None] = {}
    rows = read_feed_rows(file, LeftOut(), options)
    for _, row_names, _ in itertools.islice(rows, LOOKED_AT):
        names.update(dict.fromkeys(row_names))
    rows.close()
    return header_rank(tuple(names), options.columns)
