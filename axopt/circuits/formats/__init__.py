"""Files of gate lists and circuit descriptions: one module a format."""
