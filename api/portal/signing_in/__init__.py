"""Signing in to the portal: its cookie, and what proves that a form was sent from a page of ours."""
