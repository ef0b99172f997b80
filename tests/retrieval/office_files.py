"""Writes small XLSX and DOCX files for tests, and zip archives that are made to harm."""

import io
import zipfile
from xml.sax.saxutils import escape

_WORKBOOK_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType='
    '"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet.main+xml"/></Types>'
)
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_RELATIONSHIPS = (
    '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">{}</Relationships>'
)
_SHEET = '<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{}</worksheet>'
HIDDEN = ' state="hidden"'
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def write_zip(entries):
    """Return the bytes of a zip archive of texts or bytes by name."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return file.getvalue()


def workbook_entries(sheets, hidden=()):
    """Return the parts of a workbook: rows of texts and numbers by the name of the sheet."""
    names = "".join(
        f'<sheet name="{escape(name)}" sheetId="{index}" r:id="rId{index}"{HIDDEN if name in hidden else ""}/>'
        for index, name in enumerate(sheets, 1)
    )
    links = "".join(
        f'<Relationship Id="rId{index}" Type="{_OFFICE}/worksheet" Target="worksheets/sheet{index}.xml"/>'
        for index in range(1, len(sheets) + 1)
    )
    office_link = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/>'
    entries = {
        "[Content_Types].xml": _WORKBOOK_TYPES,
        "_rels/.rels": _RELATIONSHIPS.format(office_link),
        "xl/workbook.xml": (
            f'<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main" xmlns:r="{_OFFICE}">'
            f"<sheets>{names}</sheets></workbook>"
        ),
        "xl/_rels/workbook.xml.rels": _RELATIONSHIPS.format(links),
    }
    for index, rows in enumerate(sheets.values(), 1):
        entries[f"xl/worksheets/sheet{index}.xml"] = _SHEET.format(f"<sheetData>{_rows(rows)}</sheetData>")
    return entries


def write_xlsx(sheets, hidden=()):
    """Return the bytes of an XLSX file; arguments as in `workbook_entries`."""
    return write_zip(workbook_entries(sheets, hidden))


def _rows(rows):
    return "".join(
        f'<row r="{number}">{"".join(_cell(number, column, value) for column, value in enumerate(row))}</row>'
        for number, row in enumerate(rows, 1)
    )


def _cell(row, column, value):
    place_name = f"{chr(ord('A') + column)}{row}"
    if value is None:
        return ""
    if isinstance(value, str):
        return f'<c r="{place_name}" t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f'<c r="{place_name}"><v>{value}</v></c>'


def document_entries(body):
    """Return the parts of a minimal Word document with an XML body."""
    office_link = f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>'
    return {
        "[Content_Types].xml": _WORKBOOK_TYPES,
        "_rels/.rels": _RELATIONSHIPS.format(office_link),
        "word/document.xml": f"<w:document {WORD}><w:body>{body}</w:body></w:document>",
    }
