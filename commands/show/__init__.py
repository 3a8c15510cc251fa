"""What commands print: tables, progress bars, coloured status."""
