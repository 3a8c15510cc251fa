"""One guarded, bounded, retried request."""
