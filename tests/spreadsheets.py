"""Small spreadsheets in the form of Excel (.xlsx, .xls) and of LibreOffice (.ods), written by hand,
so that tests hold every byte of them. A sheet is a list of rows; None is an empty cell."""

import struct
from xml.sax.saxutils import escape, quoteattr

from rows_of_feeds import a_zip

XLSX = "http://schemas.openxmlformats.org/"


def letters(column):
    """The letters that a spreadsheet calls a column by, from 0."""
    return (letters(column // 26 - 1) if column > 25 else "") + chr(65 + column % 26)


# ---- Excel, since 2007 --------------------------------------------------------------------------


def xlsx_cell(row, column, value):
    place = f"{letters(column)}{row}"
    if isinstance(value, bool):
        return f'<c r="{place}" t="b"><v>{int(value)}</v></c>'
    if isinstance(value, str) and value.startswith("date:"):
        return f'<c r="{place}" s="1"><v>{value[5:]}</v></c>'
    if isinstance(value, str):
        text = f"<is><t>{escape(value)}</t></is>"
        return f'<c r="{place}" t="inlineStr">{text}</c>'
    return f'<c r="{place}"><v>{value}</v></c>'


def xlsx_rows(rows):
    return "".join(
        f'<row r="{number}">'
        + "".join(
            xlsx_cell(number, column, value)
            for column, value in enumerate(row)
            if value is not None
        )
        + "</row>"
        for number, row in enumerate(rows, 1)
    )


def xlsx(**sheets):
    """The bytes of a workbook; a sheet may also be given as its XML."""
    main, relations = f"{XLSX}spreadsheetml/2006/main", f"{XLSX}officeDocument/2006/relationships"
    package = f"{XLSX}package/2006/"
    files = {
        "[Content_Types].xml": f'<Types xmlns="{package}content-types">'
        '<Default Extension="xml" ContentType="application/xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{package}relationships"><Relationship Id="r1" '
        f'Type="{relations}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{relations}"><sheets>'
        + "".join(
            f'<sheet name={quoteattr(name)} sheetId="{number}" r:id="r{number}"/>'
            for number, name in enumerate(sheets, 1)
        )
        + "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}relationships">'
        + "".join(
            f'<Relationship Id="r{number}" Type="{relations}/worksheet" '
            f'Target="worksheets/sheet{number}.xml"/>'
            for number in range(1, len(sheets) + 1)
        )
        + f'<Relationship Id="s" Type="{relations}/styles" Target="styles.xml"/></Relationships>',
        "xl/styles.xml": f'<styleSheet xmlns="{main}"><cellXfs count="2"><xf numFmtId="0"/>'
        '<xf numFmtId="14" applyNumberFormat="1"/></cellXfs></styleSheet>',
    }
    for number, rows in enumerate(sheets.values(), 1):
        inner = rows if isinstance(rows, str) else xlsx_rows(rows)
        files[f"xl/worksheets/sheet{number}.xml"] = (
            f'<worksheet xmlns="{main}"><sheetData>{inner}</sheetData></worksheet>'
        )
    return a_zip(**files)


# ---- LibreOffice --------------------------------------------------------------------------------


def ods_cell(value):
    if value is None:
        return "<table:table-cell/>"
    if isinstance(value, bool):
        word = str(value).lower()
        return (
            f'<table:table-cell office:value-type="boolean" office:boolean-value="{word}">'
            f"<text:p>{word}</text:p></table:table-cell>"
        )
    if isinstance(value, str):
        return (
            '<table:table-cell office:value-type="string">'
            f"<text:p>{escape(value)}</text:p></table:table-cell>"
        )
    return (
        f'<table:table-cell office:value-type="float" office:value="{value}">'
        f"<text:p>{value}</text:p></table:table-cell>"
    )


def ods(**sheets):
    """The bytes of a document of LibreOffice; a sheet may also be given as its XML."""
    space = "urn:oasis:names:tc:opendocument:xmlns:"
    tables = "".join(
        f"<table:table table:name={quoteattr(name)}>"
        + (
            rows
            if isinstance(rows, str)
            else "".join(
                f"<table:table-row>{''.join(map(ods_cell, row))}</table:table-row>" for row in rows
            )
        )
        + "</table:table>"
        for name, rows in sheets.items()
    )
    return a_zip(
        **{
            "mimetype": "application/vnd.oasis.opendocument.spreadsheet",
            "content.xml": '<?xml version="1.0" encoding="UTF-8"?><office:document-content '
            f'xmlns:office="{space}office:1.0" xmlns:table="{space}table:1.0" '
            f'xmlns:text="{space}text:1.0"><office:body><office:spreadsheet>{tables}'
            "</office:spreadsheet></office:body></office:document-content>",
            "META-INF/manifest.xml": f'<manifest:manifest xmlns:manifest="{space}manifest:1.0"/>',
        }
    )


# ---- Excel, before 2007 -------------------------------------------------------------------------


def record(kind, data=b""):
    return struct.pack("<HH", kind, len(data)) + data


def xls_cell(row, column, value):
    place = struct.pack("<HHH", row, column, 0)
    if isinstance(value, bool):
        return record(0x205, place + bytes((value, 0)))
    if isinstance(value, str):
        text = value.encode("utf-16-le")
        return record(0x204, place + struct.pack("<HB", len(text) // 2, 1) + text)
    return record(0x203, place + struct.pack("<d", value))


def xls_sheet(rows):
    width = max((len(row) for row in rows), default=0)
    cells = b"".join(
        xls_cell(number, column, value)
        for number, row in enumerate(rows)
        for column, value in enumerate(row)
        if value is not None
    )
    return (
        record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))
        + record(0x200, struct.pack("<IIHHH", 0, len(rows), 0, width, 0))
        + cells
        + record(0x0A)
    )


def xls(**sheets):
    """The bytes of a workbook of Excel before 2007."""
    bodies = [xls_sheet(rows) for rows in sheets.values()]
    names = [
        bytes((0, 0)) + struct.pack("<BB", len(name), 0) + name.encode("latin-1") for name in sheets
    ]
    begin = record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0))
    at = len(begin) + sum(8 + len(name) for name in names) + 4
    for name, body in zip(names, bodies):
        begin += record(0x85, struct.pack("<I", at) + name)
        at += len(body)
    return ole(Workbook=begin + record(0x0A) + b"".join(bodies))


def ole(**streams):
    """The bytes of Microsoft's compound file with these streams."""
    fat, entries, content = [0xFFFFFFFD, 0xFFFFFFFE], [], b""
    for name, data in streams.items():
        data = data.ljust(4096, b"\0")
        data += bytes(-len(data) % 512)
        first = len(fat)
        fat += [*range(first + 1, first + len(data) // 512), 0xFFFFFFFE]
        entries.append((name, 2, first, len(data)))
        content += data
    root = [("Root Entry", 5, 0xFFFFFFFE, 0), *entries]
    directory = b""
    for number, (name, kind, first, size) in enumerate(root):
        text = name.encode("utf-16-le") + b"\0\0"
        after = number + 1 if 0 < number < len(root) - 1 else 0xFFFFFFFF
        directory += (
            text.ljust(64, b"\0")
            + struct.pack("<HBB", len(text), kind, 1)
            + struct.pack("<III", 0xFFFFFFFF, after, 1 if number == 0 else 0xFFFFFFFF)
            + bytes(36)
            + struct.pack("<IQ", first, size)
        )
    header = (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
        + bytes(16)
        + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6)
        + bytes(6)
        + struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
        + struct.pack("<I", 0)
        + b"\xff" * 4 * 108
    )
    assert len(fat) <= 128 and len(directory) <= 512
    table = b"".join(struct.pack("<I", each) for each in fat).ljust(512, b"\xff")
    return header + table + directory.ljust(512, b"\0") + content
