"""The programs that `verify` runs in the reference's interpreter; this project itself never imports what they do."""

LAYOUT = """
import transformers
tiny = transformers.ViTConfig(hidden_size=2, num_hidden_layers=1, num_attention_heads=1, intermediate_size=2)
names = transformers.ViTModel(tiny, add_pooling_layer=False).state_dict()
import stable_worldmodel
print(5 if any(name.startswith("layers.") for name in names) else 4)
"""
"""Prints the version of transformers that names the tensors of an encoder as the installed one does."""

_BEFORE = """
import copy, importlib.util, json, sys, types
import numpy, torch, transformers

folder, place = sys.argv[1], sys.argv[2]
request = json.load(open(f"{place}/request.json"))
given = {name: torch.from_numpy(value) for name, value in numpy.load(f"{place}/inputs.npz").items()}

if request["backbone"]:
    # The weights are in the checkpoint; nothing has to come from the hub first.
    def build(*_, **__):
        model, config = request["backbone"]["model"], request["backbone"]["config"]
        sizes = getattr(transformers, config)(**request["backbone"]["sizes"])
        return getattr(transformers, model)(sizes)

    for auto in (transformers.AutoModel, transformers.AutoModelForImageClassification):
        auto.from_pretrained = build

if importlib.util.find_spec("stable_pretraining") is None:
    # Its configurations name this package, but the reference does not install it.
    WIDTHS = {"tiny": (192, 12, 3), "small": (384, 12, 6), "base": (768, 12, 12), "large": (1024, 24, 16),
              "huge": (1280, 32, 16)}

    def vit_hf(size="tiny", patch_size=16, image_size=224, pretrained=False, use_mask_token=True, **others):
        width, layers, heads = WIDTHS[size]
        sizes = dict(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                     intermediate_size=4 * width, patch_size=patch_size, image_size=image_size)
        config = transformers.ViTConfig(**{**sizes, **others})
        return transformers.ViTModel(config, add_pooling_layer=False, use_mask_token=use_mask_token)

    class EvalOnly(torch.nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

        def forward(self, *arguments, **named):
            return self.backbone(*arguments, **named)

    class TeacherStudentWrapper(torch.nn.Module):
        def __init__(self, student, **_):
            super().__init__()
            self.student, self.teacher = student, copy.deepcopy(student)
            for name in ("base_ema_coefficient", "final_ema_coefficient", "ema_coefficient"):
                self.register_buffer(name, torch.tensor(0.0))

        def forward(self, *arguments, **named):
            return self.teacher(*arguments, **named)

    parts = dict(vit_hf=vit_hf, EvalOnly=EvalOnly, TeacherStudentWrapper=TeacherStudentWrapper)
    for name in ("stable_pretraining", "stable_pretraining.backbone", "stable_pretraining.backbone.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["stable_pretraining"].backbone = sys.modules["stable_pretraining.backbone"]
    sys.modules["stable_pretraining.backbone"].utils = sys.modules["stable_pretraining.backbone.utils"]
    vars(sys.modules["stable_pretraining.backbone.utils"]).update(parts)

from stable_worldmodel.wm.utils import load_pretrained

torch.set_grad_enabled(False)
model = load_pretrained(folder, cache_dir=place).float().eval()
wanted, out = request["wanted"], {}


def candidates(value):
    return value[:, None].expand(-1, given["actions"].shape[1], *value.shape[1:])


def predictions(value):
    # Releases differ in whether the context comes first.
    return value[:, :, -given["actions"].shape[2]:]
"""
_AFTER = """
numpy.savez(f"{place}/outputs.npz", **{name: value.double().numpy() for name, value in out.items()})
"""


def forward(family: str) -> str:
    """The program that makes the outputs of a family of models.

    Its arguments are a torch checkpoint, and a folder with `request.json` and `inputs.npz`, which gets `outputs.npz`.

    Args:
        family: what fills `out` with `wanted`. It finds the `model` and the inputs as tensors in `given`; `candidates`
            repeats an input for every sequence of actions, and `predictions` takes the context from a rollout.
    """
    return _BEFORE + family + _AFTER
