"""Summaries of results as parts of a report: their sections opened, what the report tells elsewhere left out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from scaling.blocks import (
    Block,
    Blocks,
    Callout,
    Code,
    Fields,
    Figure,
    Heading,
    Section,
    Table,
    Text,
    all_blocks,
)

ELSEWHERE = ("doubts", "residuals")  # sections of a summary that the report tells in a place of their own


def told(summary: Iterable[Block]) -> Blocks:
    """A summary as a part of a report: no figures, findings or next commands, which have their own places.

    Where a summary has sections, a table before them is the short form of one in them.
    """
    blocks = tuple(summary)
    short = any(isinstance(b, Section) for b in blocks)
    once = [b for b in blocks if not (short and isinstance(b, Table))]
    return opened(b for b in once if not (isinstance(b, Section) and b.name in ELSEWHERE))


def opened(blocks: Iterable[Block]) -> Blocks:
    """What is to be read of blocks whose sections stand open."""
    kept = [b for b in all_blocks(blocks) if not isinstance(b, (Figure, Callout, Code)) and not _is_aside(b)]
    return tuple(_without_empty_headings(kept))


def sections_of(summary: Iterable[Block], *names: str) -> tuple[Section, ...]:
    """The sections of a summary, those with the names where any are given; never those told elsewhere."""
    found = (b for b in summary if isinstance(b, Section))
    return tuple(b for b in found if (b.name in names if names else b.name not in ELSEWHERE))


def _is_aside(block: Block) -> bool:
    """A line that parts blocks, or one that points to findings or tells them."""
    if isinstance(block, Text):
        points = block.style == "faint" and block.indent > 0  # to what an option of the command would show
        return not block.text.strip() or block.style == "warning" or points
    return isinstance(block, Fields) and block.style == "warning"


def _without_empty_headings(blocks: Sequence[Block]) -> Iterator[Block]:
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        if isinstance(block, Heading) and (following is None or isinstance(following, Heading)):
            continue
        yield block


def drawn(summary: Iterable[Block]) -> tuple[Figure, ...]:
    """The figures of a summary."""
    return tuple(b for b in all_blocks(summary) if isinstance(b, Figure))


def captioned(blocks: Iterable[Block]) -> Blocks:
    """Tables take the heading right above them for a caption, unless they have one."""
    done: list[Block] = []
    for block in blocks:
        above = done[-1] if done else None
        if isinstance(block, Table) and not block.caption and isinstance(above, Heading):
            done[-1] = block._replace(caption=_sentence(above.text))
        else:
            done.append(block)
    return tuple(_without_gaps(done))


def _without_gaps(blocks: Iterable[Block]) -> Iterator[Block]:
    """Headings of a section from level 2 on, none further below the one above it than one level."""
    above = 1
    for block in blocks:
        if isinstance(block, Heading):
            above = min(block.level, above + 1)
            block = block._replace(level=above)
        yield block


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
