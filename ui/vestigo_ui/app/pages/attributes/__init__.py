"""Page Attributes: precision of attribute predictions."""
