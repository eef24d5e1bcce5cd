"""The network of a package without this project: in onnxruntime and in plain PyTorch."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from support.made.digits_packages import CONFIG, DATA, FACTS
from torch import Tensor

import tune_vgg6
from analysis.packages.loader_code import torch_loader
from analysis.packages.weights import package_weights
from vgg6.architecture import WIDTHS
from vgg6.augment import Normalizer
from vgg6.checkpoint import save_weights
from vgg6.config import ACTIVATIONS, NORMS, TrialConfig
from vgg6.model import VGG6
from vgg6.onnx_export.onnx_file import onnx_bytes

# Every activation, and every kind of norm with activations of both kinds of pooling order.
NETWORKS = [
    TrialConfig(activation=name, norm=NORMS[i % 3], optimizer="adam", lr=1e-3)
    for i, name in enumerate(ACTIVATIONS)
]


def network(config: TrialConfig) -> VGG6:
    """A network with statistics of its own in its batch norms."""
    torch.manual_seed(0)
    model = VGG6(config)
    with torch.no_grad():
        for _ in range(3):
            model(torch.randn(16, 3, 32, 32) * 2 + 1)
    return model.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def logits_of(model: VGG6, images: Tensor) -> Tensor:
    """The project's own logits in fp32 of uint8 (N, 3, 32, 32)."""
    normalize = Normalizer(DATA.mean, DATA.std, torch.device("cpu"))
    with torch.inference_mode():
        return model(normalize(images.permute(0, 2, 3, 1).contiguous()))


@pytest.mark.slow
@pytest.mark.parametrize("config", NETWORKS, ids=lambda c: f"{c.activation}-{c.norm}")
def test_onnxruntime_gives_the_logits_of_torch_for_any_number_of_images(
    config: TrialConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    model = network(config)
    content = onnx_bytes(config, model.state_dict(), FACTS)
    assert capfd.readouterr().out == "", "the exporter's own messages are no result"
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    for count in (1, 33):
        images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8)
        (got,) = session.run(None, {"images": images.numpy()})
        expected = logits_of(model, images).numpy()
        assert got.shape == (count, 10) and got.dtype == np.float32
        np.testing.assert_allclose(got, expected, atol=1e-4, rtol=0)
        assert (got.argmax(1) == expected.argmax(1)).all()


def test_the_onnx_file_of_a_package_refuses_images_it_would_misread(packed: Path) -> None:
    session = onnxruntime.InferenceSession(
        packed / "model.onnx", providers=["CPUExecutionProvider"]
    )
    images = torch.from_numpy(DATA.val.images[:40]).permute(0, 3, 1, 2).contiguous()
    (got,) = session.run(None, {"images": images.numpy()})
    model = VGG6(CONFIG).eval()
    model.load_state_dict(package_weights(packed, CONFIG))
    np.testing.assert_allclose(got, logits_of(model, images).numpy(), atol=1e-4, rtol=0)
    for wrong in (images.float().numpy(), DATA.val.images[:40]):  # normalised; colours last
        with pytest.raises(Exception, match="INVALID_ARGUMENT"):
            session.run(None, {"images": wrong})


def test_the_onnx_file_is_valid_and_names_its_classes_and_no_folder_of_this_machine(
    packed: Path,
) -> None:
    proto = onnx.load(packed / "model.onnx")
    onnx.checker.check_model(proto, full_check=True)
    facts = {p.key: p.value for p in proto.metadata_props}
    assert json.loads(facts["classes"]) == [str(i) for i in range(10)]
    assert str(Path(tune_vgg6.__file__).parent).encode() not in proto.SerializeToString()


# Run by a Python that sees neither this project nor its folder.
ALONE = """
import importlib.util, json, sys
import torch
torch.set_num_threads(1)
folders, images, out = json.loads(sys.argv[1]), torch.load(sys.argv[2]), {}
for folder in folders:
    spec = importlib.util.spec_from_file_location("load_model", folder + "/load_model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.load()
    with torch.inference_mode():
        out[folder] = model(images)
    assert module.classify(images) == [module.CLASSES[i] for i in out[folder].argmax(1)]
assert not {"vgg6", "analysis", "numpy.testing", "onnx"} & set(sys.modules)
torch.save(out, sys.argv[3])
"""


@pytest.mark.slow
def test_load_model_alone_gives_the_projects_logits_bit_for_bit(
    package: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    models = {str(package): VGG6(CONFIG).eval().to(memory_format=torch.channels_last)}
    models[str(package)].load_state_dict(package_weights(package, CONFIG))
    for number, config in enumerate(NETWORKS):
        folder = tmp_path / str(number)
        folder.mkdir()
        models[str(folder)] = network(config)
        save_weights(folder / "weights.safetensors", models[str(folder)].state_dict(), config)
        (folder / "load_model.py").write_text(torch_loader(config, FACTS, WIDTHS))
    images = torch.from_numpy(DATA.val.images[:64]).permute(0, 3, 1, 2).contiguous()
    torch.save(images, tmp_path / "images.pt")
    (tmp_path / "empty").mkdir()
    subprocess.run(
        [sys.executable, "-I", "-c", ALONE, json.dumps(list(models)), str(tmp_path / "images.pt"),
         str(tmp_path / "logits.pt")],
        cwd=tmp_path / "empty", check=True, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    logits = torch.load(tmp_path / "logits.pt")
    for folder, model in models.items():
        assert torch.equal(logits[folder], logits_of(model, images)), folder


@pytest.mark.slow
def test_load_model_runs_as_a_script_and_refuses_what_is_no_pixel(
    packed: Path, tmp_path: Path
) -> None:
    shutil.copy(packed / "load_model.py", tmp_path)
    shutil.copy(packed / "weights.safetensors", tmp_path)
    check = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import load_model, torch\n"
        "try:\n    load_model.classify(torch.zeros(1, 3, 32, 32))\n"
        "except ValueError as error:\n    print(error)"
    )
    for arguments in ([str(tmp_path / "load_model.py")], ["-c", check]):
        done = subprocess.run(
            [sys.executable, "-I", *arguments],
            cwd="/", check=True, capture_output=True, text=True, env={"PATH": "/usr/bin:/bin"},
        )  # fmt: skip
        assert "your images" in done.stdout or "must be uint8 RGB" in done.stdout
