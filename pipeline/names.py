"""Names in the output folder of a run, or a training, and in the work folder inside it. What is where, in one place."""

import re

# What a person opens.
REPORT, LOG, STORE = "run.json", "run.log", "probability.zarr"
GEOPACKAGE, COG, MASKS, PREVIEW, PAGE = "footprints.gpkg", "probability.tif", "masks", "preview.png", "report.html"
# Names that files of a run have, whatever a run.json says that came from elsewhere; relative to the output folder.
OURS = re.compile(r"footprints\.\w+|probability\.tif|preview\.png|report\.html|masks/[^/]+\.tif")

# Everything unfinished, and what further runs begin with.
WORK = ".work"
JOURNAL, PUBLISHED = "journal.jsonl", "published.json"
ORIGIN, THUMBNAILS, OUTLINES, FOOTPRINTS, WELDED = "origin", "thumbnails", "outlines", "footprints", "welded.arrow"
# Stores of probabilities on their way: one of more scenes than before, the one whose place it takes, and a published
# one whose place another takes.
GROWN, ASIDE, REPLACED = "grown.zarr", "aside.zarr", "replaced.zarr"
# What of the work folder is kept: the samples' journal, and what else footprints are made of but the samples.
KEPT = {JOURNAL, THUMBNAILS, ORIGIN}
# What runs make there that a journal vouches for; workers keep things of their own beside it.
VOUCHED = (JOURNAL, STORE, GROWN, ASIDE, REPLACED, ORIGIN, THUMBNAILS, OUTLINES, FOOTPRINTS, WELDED)
