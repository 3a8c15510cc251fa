"""What may be asked: parameters, operators, cursors, the view of one caller."""
