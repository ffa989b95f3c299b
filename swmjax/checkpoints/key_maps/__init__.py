"""Names and layouts of torch tensors, matched with the parameters of an NNX model."""

from swmjax.checkpoints.key_maps.matching import TensorSpec, match_tensors, spell_tensors, tensor_specs
from swmjax.checkpoints.key_maps.rules import KeyRules

__all__ = ["KeyRules", "TensorSpec", "match_tensors", "spell_tensors", "tensor_specs"]
