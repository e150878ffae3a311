"""Reads a spreadsheet for feed_spreadsheet.py, in a process of its own: a file that was made to
take all memory then ends this process, and not the one that loads a catalogue.

In: the path of a file as the argument; on stdin a line of JSON for each sheet that is wanted, [its
number, how many rows at most]. Out, on stdout: a line with the names of the sheets; for each sheet
wanted its rows, [number, cells], and a line `null`. A line of text instead says what is wrong.
"""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import sys

import python_calamine

MOST_MEMORY = 4_000_000_000  # bytes


def text_of(value: object) -> str:
    """A cell as it was typed, as far as can be known: without exponent and without .0."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        if value.is_integer() and abs(value) < 1e17:
            return str(int(value))
        # A spreadsheet shows 15 digits: it keeps 0.1 + 0.2 as 0.30000000000000004.
        return format(decimal.Decimal(f"{value:.15g}"), "f")
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ") if value.time() != datetime.time() else value.date().isoformat()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return str(value)


def write(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")


def main() -> int:
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    except (ImportError, ValueError, OSError):
        pass  # this system has no such limit, or a lower one
    try:
        workbook = python_calamine.load_workbook(sys.argv[1])
        write(
            [
                sheet.name
                for sheet in workbook.sheets_metadata
                if sheet.typ == python_calamine.SheetTypeEnum.WorkSheet
            ]
        )
        sys.stdout.flush()
        for line in sys.stdin:
            name, most_rows = json.loads(line)
            sheet = workbook.get_sheet_by_name(name)
            rows = enumerate(sheet.iter_rows(), 1)
            for number, row in itertools.islice(rows, most_rows):
                cells = [text_of(value) for value in row]
                if any(cells):
                    write([number, cells])
            write(None)
            sys.stdout.flush()
    except python_calamine.PasswordError:
        write("it has a password")
    except BaseException as error:  # of Rust, too, which are no Exception
        write(f"it is damaged ({type(error).__name__})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
