"""How things look: styles, lines, panels, figures for print, captions."""
