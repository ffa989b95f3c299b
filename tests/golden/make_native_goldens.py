"""Save checkpoints with this release, which every later one must load: folders `native_<family>_<release>`.

Run `python tests/golden/make_native_goldens.py` once a release; folders that exist are left as they are.
"""

from pathlib import Path

import swmjax
from swmjax.checkpoints import load_checkpoint, save_pretrained

FOLDER = Path(__file__).parent
RELEASE = "_".join(swmjax.__version__.split(".")[:2])

for family, origin in {"tdmpc2": "tdmpc2_state", "gcbc": "gcrl_gcbc_deep"}.items():
    folder = FOLDER / f"native_{family}_{RELEASE}"
    if not folder.exists():
        loaded = load_checkpoint(FOLDER / origin)
        save_pretrained(loaded, folder)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size < 300_000
        print(folder.name, size)
