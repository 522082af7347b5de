"""On PYTHONPATH, this makes ``contrast`` a network of the catalogue in every process of a run, workers included."""

from pathlib import Path

import models
from models.catalogue import CATALOGUE, Network

models.__path__.append(str(Path(__file__).parent))
CATALOGUE["contrast"] = Network("contrast", "contrast:Contrast", stride=16, before=16, after=16)
