"""What reads data needs no JAX: workers and commands start at once."""

import subprocess
import sys

_HEAVY = ("jax", "lance", "h5py", "grain", "av", "simplejpeg", "imageio", "huggingface_hub")


def test_importing_data_imports_neither_jax_nor_optional_packages():
    code = f"import sys, swmjax.data; print([name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
