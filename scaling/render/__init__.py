"""The only places that print or escape: blocks to a terminal, to Markdown, to HTML."""
