"""Reports: Markdown files with questions of the explorer in them."""
