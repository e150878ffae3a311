"""What an export says on stderr: how many products went out, how many did not, and why.

In: counts of export.py. Out: lines on stderr, and sentences about a file that was filled in.

    python analyze.py --export 1 --format woocommerce > categories.csv
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from common.terminal import counted, first_few, log

LEVELS = {"leaf": "filed at the leaf", "parent": "at the parent", "decided": "decided by a person"}


def log_counts(counts: Mapping[str, int], new: Mapping[str, int], waiting: int) -> None:
    """Say how many products went out, and how many did not."""
    parts = [f"{counts[level]:,} {words}" for level, words in LEVELS.items() if counts[level]]
    exported = sum(counts[level] for level in LEVELS)
    log(f"exported: {counted(exported, 'product')} ({', '.join(parts) or 'none'})")
    log_consequences(counts, new, waiting)


def log_consequences(counts: Mapping[str, int], new: Mapping[str, int], waiting: int) -> None:
    """Say what the shop has to do with products that go out, and which do not. `new` are
    {category that the shop does not have: products}, `waiting` the products left to a person."""
    if new:
        names = first_few([f"{name!r} ({count})" for name, count in new.items()])
        log(
            f"categories that the shop does not have yet, so its import has to create them: {names}"
        )
    if counts["parent"]:
        log(
            f"{counted(counts['parent'], 'product')} went out with the parent of the leaf: if the "
            "shop's next feed has them there, nobody is asked for their leaf; --only leaf leaves "
            "them out"
        )
    if counts["variants"]:
        log(
            f"not exported: {counted(counts['variants'], 'variant')} (a variant has its parent's "
            "categories)"
        )
    if counts["at the parent only"]:
        log(f"not exported: {counted(counts['at the parent only'], 'product')} at the parent only")
    if waiting:
        log(f"not exported: {counted(waiting, 'product')} that a person has to decide on")


def same_counts(
    path: str,
    column: str,
    filled: Mapping[str, int],
    missing: int,
    left_out: Sequence[str],
    read_otherwise: Sequence[str],
) -> list[str]:
    """Sentences about a file that was filled in: `filled` has the counts filled, unchanged,
    inheriting and overwritten, `missing` how many products to export the file does not have, `column` the name of
    the column that was added, or '', and `read_otherwise` cells that the next load reads so."""
    lines = [f"{path}: {counted(filled['filled'], 'row')} filled in"]
    if filled["unchanged"]:
        lines.append(f"{counted(filled['unchanged'], 'row')} had the category already")
    if filled["inheriting"]:
        lines.append(
            f"{counted(filled['inheriting'], 'row')} left empty: a variant has its parent's category"
        )
    if filled["overwritten"]:
        lines.append(
            f"{counted(filled['overwritten'], 'row')} of those filled in had another category in "
            "the file, which is replaced"
        )
    if column:
        lines.append(
            f"the file has no column for the category: {column!r} was added as the last one"
        )
    lines += [f"left as it was: {sentence}" for sentence in left_out]
    if read_otherwise:
        cells = counted(len(read_otherwise), "category", "categories")
        lines.append(
            f"crawl.py would read {cells} of the new file otherwise than meant, such as "
            f"{read_otherwise[0][:100]!r}: if you load it, look first with --dry-run, and say "
            "--separator"
        )
    if missing > 0:
        lines.append(f"{path} does not have {counted(missing, 'product')} of those to export")
    return lines
