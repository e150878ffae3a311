"""What the tests of feed formats share: a file with some content, read; files in zip and Excel's
form, made without any library that could make them right by itself."""

import dataclasses
import io
import zipfile

import pytest

from crawling.feed_formats import read_feed_rows
from crawling.feed_types import HowRead, ReadOptions


@dataclasses.dataclass
class Result:
    rows: list  # (line, {name: value}) of each row but the header
    skipped: list
    how: HowRead
    header: tuple | None  # (line, names)


def read_file(path, **options):
    """The Result of reading the file at a path."""
    result = Result([], [], HowRead(), None)
    for line, names, values in read_feed_rows(
        path, result.skipped, ReadOptions(**options), result.how
    ):
        assert result.how.kind  # it is filled in before the first row
        if values is None:
            assert result.header is None and result.rows == []
            result.header = (line, names)
        else:
            assert len(values) <= len(names)
            result.rows.append((line, dict(zip(names, values))))
    return result


@pytest.fixture
def read(tmp_path):
    """read(bytes or text, **options) -> the Result of a file with that content."""

    def read(content, **options):
        path = tmp_path / "products"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return read_file(str(path), **options)

    return read


def values_of(result, *names):
    """The values of these columns, row by row."""
    return [tuple(row.get(name) for name in names) for _, row in result.rows]


def a_zip(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()
