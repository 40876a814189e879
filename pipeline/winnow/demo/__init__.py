"""The demo: a pool of rendered scenes with planted defects, a model, a verdict.

`scenes`, `drawing` and `captions` make images and describe them, `pool` hides known
defects among them, `judge` says how much of that a run found, and `train` reproduces
the small CLIP in `model/`; `run` puts them together.

May import: core, models, api, config, reports, polars, pyarrow; PIL, torch and
open_clip inside functions.
"""

from pathlib import Path

#: Folder of the packaged CLIP, in open_clip's `local-dir:` layout.
MODEL_FOLDER = Path(__file__).parent / "model"
