"""Limits of what a parser reads. A document above one of them is refused with a sentence that names the limit."""

from turnwise.core.errors import InvalidData

MAX_FILE_BYTES = 512 * 2**20
MAX_TREE_BYTES = 64 * 2**20  # of a file that is parsed into a tree as a whole: HTML, Markdown, YAML, JSON
MAX_TEXT_CHARACTERS = 256 * 10**6  # of all blocks together
MAX_BLOCK_CHARACTERS = 4 * 10**6
MAX_CELL_CHARACTERS = 10**6
MAX_PAGES = 10_000
MAX_NESTING = 500  # of elements; browsers flatten HTML at 512
MAX_WARNINGS = 50
MAX_ARCHIVE_ENTRIES = 20_000
MAX_ARCHIVE_BYTES = 512 * 2**20  # after decompression
MAX_ARCHIVE_RATIO = 200  # of an entry or the archive; XML of spreadsheets reaches about 50
FREE_ARCHIVE_BYTES = 2**20  # an entry this small may have any ratio
MAX_MEMORY_BYTES = 2 * 2**30  # address space of the parser process
MAX_CPU_SECONDS = 240
MAX_SECONDS = 300  # of waiting for the parser of one document


def check_tree_size(num_bytes: int) -> None:
    """Raise `InvalidData` if a file is too large for a parser that holds all of it in memory."""
    if num_bytes > MAX_TREE_BYTES:
        raise InvalidData(
            f"It has {num_bytes:,} bytes; a document of this format may have at most {MAX_TREE_BYTES:,}. Divide it."
        )
