"""What the pages are made of: widgets, the form, the study picker, the live view, the figure with its downloads."""
