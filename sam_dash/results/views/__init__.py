"""One file a view: what a page shows of a study."""
