"""Writes small PDF files for tests: text at positions, images, encryption, damage."""

import hashlib
import struct
import textwrap
from dataclasses import dataclass, field

WIDTH, HEIGHT = 595, 842  # points, A4
_PADDING = bytes.fromhex("28BF4E5E4E758A4164004E56FFFA01082E2E00B6D0683E802F0CA9FE6453697A")


@dataclass
class PdfPage:
    """A page; positions are in points from its lower left corner."""

    texts: list[tuple[float, float, float, str]] = field(default_factory=list)  # x, y, size, text
    has_image: bool = False

    def add_lines(self, x, y, lines, size=10, leading=1.2):
        """Add lines below each other; return the height at which the next one stands."""
        for line in lines:
            self.texts.append((x, y, size, line))
            y -= size * leading
        return y

    def add_paragraph(self, x, y, text, width=90, size=10):
        """Add a paragraph, wrapped at `width` characters."""
        return self.add_lines(x, y, textwrap.wrap(text, width), size)

    def content(self):
        parts = [b"q 200 0 0 200 100 300 cm /Im1 Do Q\n"] if self.has_image else []
        for x, y, size, text in self.texts:
            is_latin = all(ord(character) < 256 for character in text)
            font, code = ("F1", "latin-1") if is_latin else ("F2", "utf-16-be")
            parts.append(f"BT /{font} {size} Tf {x} {y} Td <{text.encode(code).hex()}> Tj ET\n".encode())
        return b"".join(parts)


def write_pdf(pages, *, title="", password=None, outline=()):
    """Return the bytes of a PDF file.

    Args:
        pages: the pages.
        title: title in its properties.
        password: password without which it cannot be opened (RC4, 40 bits).
        outline: bookmarks as (title, index of the page).
    """
    objects: list[bytes] = []  # object number n is objects[n - 1]

    def add(content):
        objects.append(content)
        return len(objects)

    key, encryption = _encryption(password) if password else (None, b"")

    def stream(entries, content):
        if key:
            content = _rc4(_object_key(key, len(objects) + 1), content)
        return add(b"<<%s /Length %d>>\nstream\n%s\nendstream" % (entries, len(content), content))

    add(b"")  # catalog
    add(b"")  # pages
    add(b"<</Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding>>")
    to_unicode = stream(b"", _TO_UNICODE)
    descendant = add(
        b"<</Type /Font /Subtype /CIDFontType2 /BaseFont /Song /DW 1000 /FontDescriptor 6 0 R"
        b" /CIDSystemInfo <</Registry (Adobe) /Ordering (Identity) /Supplement 0>>>>"
    )
    add(
        b"<</Type /FontDescriptor /FontName /Song /Flags 4 /FontBBox [0 -200 1000 900] /ItalicAngle 0 /Ascent 900"
        b" /Descent -200 /CapHeight 800 /StemV 80>>"
    )
    composite = add(
        b"<</Type /Font /Subtype /Type0 /BaseFont /Song /Encoding /Identity-H /DescendantFonts [%d 0 R]"
        b" /ToUnicode %d 0 R>>" % (descendant, to_unicode)
    )
    image = stream(
        b"/Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray", b"\x80"
    )
    resources = add(b"<</Font <</F1 3 0 R /F2 %d 0 R>> /XObject <</Im1 %d 0 R>>>>" % (composite, image))
    numbers = []
    for page in pages:
        content = stream(b"", page.content())
        numbers.append(
            add(
                b"<</Type /Page /Parent 2 0 R /MediaBox [0 0 %d %d] /Resources %d 0 R /Contents %d 0 R>>"
                % (WIDTH, HEIGHT, resources, content)
            )
        )
    bookmarks = b""
    if outline:
        root = len(objects) + 1
        add(b"<</Type /Outlines /First %d 0 R /Last %d 0 R /Count %d>>" % (root + 1, root + len(outline), len(outline)))
        for index, (text, page_index) in enumerate(outline):
            links = b"/Prev %d 0 R " % (root + index) if index else b""
            links += b"/Next %d 0 R " % (root + index + 2) if index < len(outline) - 1 else b""
            destination = b"[%d 0 R /Fit]" % numbers[page_index]
            add(b"<</Title (%s) /Parent %d 0 R %s/Dest %s>>" % (text.encode("latin-1"), root, links, destination))
        bookmarks = b" /Outlines %d 0 R" % root
    objects[0] = b"<</Type /Catalog /Pages 2 0 R%s>>" % bookmarks
    kids = b" ".join(b"%d 0 R" % number for number in numbers)
    objects[1] = b"<</Type /Pages /Count %d /Kids [%s]>>" % (len(numbers), kids)
    info = add(b"<</Title (%s)>>" % title.encode("latin-1")) if title else None
    return _assemble(objects, info, encryption)


def _assemble(objects, info, encryption):
    output, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        offsets.append(len(output))
        output += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    start = len(output)
    output += b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    output += b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    info_entry = b" /Info %d 0 R" % info if info else b""
    output += b"trailer\n<</Size %d /Root 1 0 R%s%s>>\n" % (len(objects) + 1, info_entry, encryption)
    return bytes(output) + b"startxref\n%d\n%%%%EOF\n" % start


def break_cross_references(pdf):
    """Return the file with all offsets of its cross-reference table wrong."""
    start = pdf.rindex(b"xref\n0 ", 0, pdf.rindex(b"startxref"))
    end = pdf.rindex(b"trailer")
    return pdf[:start] + pdf[start:end].replace(b"0000000", b"9999999") + pdf[end:]


def _rc4(key, content):
    state, j = list(range(256)), 0
    for i in range(256):
        j = (j + state[i] + key[i % len(key)]) % 256
        state[i], state[j] = state[j], state[i]
    i = j = 0
    output = bytearray()
    for byte in content:
        i = (i + 1) % 256
        j = (j + state[i]) % 256
        state[i], state[j] = state[j], state[i]
        output.append(byte ^ state[(state[i] + state[j]) % 256])
    return bytes(output)


def _object_key(key, number):
    return hashlib.md5(key + struct.pack("<I", number)[:3] + b"\0\0").digest()[:10]


def _encryption(password):
    """Key and entries of the trailer, by the algorithms 2 to 4 of the PDF reference."""
    padded = (password.encode() + _PADDING)[:32]
    owner = _rc4(hashlib.md5(padded).digest()[:5], padded)
    permissions, identity = -4, b"0123456789abcdef"
    key = hashlib.md5(padded + owner + struct.pack("<i", permissions) + identity).digest()[:5]
    user = _rc4(key, _PADDING)
    entries = b" /Encrypt <</Filter /Standard /V 1 /R 2 /O <%s> /U <%s> /P %d>> /ID [<%s> <%s>]" % (
        owner.hex().encode(), user.hex().encode(), permissions, identity.hex().encode(), identity.hex().encode(),
    )  # fmt: skip
    return key, entries


_TO_UNICODE = b"""/CIDInit /ProcSet findresource begin 12 dict begin begincmap
/CMapName /Identity def /CMapType 2 def
1 begincodespacerange <0000> <FFFF> endcodespacerange
1 beginbfrange <0000> <FFFF> <0000> endbfrange
endcmap end end"""
