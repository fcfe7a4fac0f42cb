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

ELSEWHERE = ("doubts",)  # sections of a summary that the report tells in a place of their own


def told(summary: Iterable[Block]) -> Blocks:
    """A summary as a part of a report: no figures, findings or next commands, which have their own places."""
    open_ = [b for b in summary if not (isinstance(b, Section) and b.name in ELSEWHERE)]
    kept = [b for b in all_blocks(open_) if not isinstance(b, (Figure, Callout, Code)) and not _is_aside(b)]
    return tuple(_without_empty_headings(kept))


def _is_aside(block: Block) -> bool:
    """A line that parts blocks, or one that points to findings or tells them."""
    if isinstance(block, Text):
        return not block.text.strip() or block.style == "warning"
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
    return tuple(done)


def _sentence(text: str) -> str:
    text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "?", "!")) else f"{text}."
