"""Bounds on what a file may make a reader allocate; real data sets stay far below."""

MAX_DECODED_BYTES = 8 << 30
"""Largest array of images that is read into memory."""

MAX_IMAGE_FILE_BYTES = 32 << 20
"""Largest compressed file of one image."""

MAX_IMAGE_PIXELS = 16 << 20
"""Most pixels of one image."""

MAX_CLASSES = 1 << 16
"""Most classes that labels may name."""
