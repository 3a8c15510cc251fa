"""Events in, receipts out."""
