"""The VGG-style and MobileNetV2-style networks, as they are before training."""

import pytest
import torch
from torch import nn

from axopt.errors import ArgumentError, ModelError
from axopt.zoo import MODELS, create_model, list_models, mobilenet, register_model, vgg
from axopt.zoo.blocks import he_initialise_
from axopt.zoo.mobilenet import InvertedResidual, MobileNetV2
from axopt.zoo.vgg import HALF_VGG11, Vgg

NETWORKS = ("mobilenetv2_small", "vgg_small")
MAX_PARAMETERS = 5_000_000 // 4  # what fits the zoo's limit on files of weights in float32


def sizes(model, side):
    """Name of every convolution -> height of its output, for images of that side."""
    found = {}
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(
                lambda _, inputs, output, name=name: found.update({name: output.shape[-1]})
            )
    with torch.no_grad():
        assert model.eval()(torch.rand(1, 3, side, side)).shape == (1, 10)
    return list(found.values())


@pytest.mark.parametrize(
    ("name", "module", "parameters"),
    [("mobilenetv2_small", mobilenet, 590_410), ("vgg_small", vgg, 1_167_914)],
)
def test_networks_have_the_size_that_they_say(name, module, parameters):
    model = create_model(name, pretrained=False)
    assert sum(p.numel() for p in model.parameters()) == parameters < MAX_PARAMETERS
    assert f"{parameters:,}" in getattr(module, name).__doc__


def test_vgg_halves_the_image_after_every_stage():
    assert sizes(create_model("vgg_small", pretrained=False), 32) == [32, 32, 16, 16, 8, 8]
    large = sizes(Vgg(HALF_VGG11, input_size=224), 224)
    assert large == [224, 112, 56, 56, 28, 28, 14, 14]


@pytest.mark.parametrize("side", [33, 36, 4, 0, -8])
def test_vgg_refuses_sides_that_it_cannot_halve(side):
    with pytest.raises(ArgumentError, match=rf"`input_size` must be .* multiple of 8 .* {side}\."):
        Vgg(((8,), (8,), (8,)), input_size=side)


def test_mobilenet_keeps_small_images_larger():
    small = sizes(create_model("mobilenetv2_small", pretrained=False), 32)
    large = sizes(MobileNetV2(0.25), 224)
    assert (small[0], small[-1]) == (32, 4)
    assert (large[0], large[-1]) == (112, 7)
    assert len(small) == len(large) == 52


def test_mobilenet_is_made_of_depthwise_and_1x1_convolutions():
    model = create_model("mobilenetv2_small", pretrained=False)
    for block in model.blocks:
        depthwise = block.depthwise.conv
        assert depthwise.groups == depthwise.in_channels == depthwise.out_channels
        assert depthwise.kernel_size == (3, 3)
        assert block.project.conv.kernel_size == (1, 1)
        assert not hasattr(block.project, "act")  # a linear bottleneck
        assert depthwise.in_channels % 8 == 0
    stem, head, depthwise, expanding = 1, 1, 17, 16
    activations = [module for module in model.modules() if isinstance(module, nn.ReLU6)]
    assert len(activations) == stem + head + depthwise + expanding


def test_the_input_is_added_only_where_the_shapes_agree():
    x = torch.rand(1, 8, 6, 6)
    same = InvertedResidual(8, 8, 6, 1).eval()
    nn.init.zeros_(same.project.conv.weight)
    assert torch.equal(same(x), x)
    for other in (InvertedResidual(8, 8, 6, 2), InvertedResidual(8, 16, 6, 1)):
        nn.init.zeros_(other.project.conv.weight)
        assert not other.eval()(x).any()


@pytest.mark.parametrize(("groups", "reached"), [(1, 64 * 9), (64, 9), (4, 16 * 9)])
def test_initial_weights_have_the_variance_of_he(groups, reached):
    torch.manual_seed(0)
    conv = nn.Conv2d(64, 64, 3, groups=groups)
    he_initialise_(conv)
    assert conv.weight.var().item() == pytest.approx(2 / reached, rel=0.2)


@pytest.mark.parametrize("name", NETWORKS)
def test_untrained_networks_are_evaluated_and_depend_on_the_image(name):
    torch.manual_seed(0)
    model = create_model(name, pretrained=False)
    assert not model.training
    with torch.no_grad():
        logits = model(torch.rand(3, 3, 32, 32))
    assert logits.shape == (3, 10)
    assert 0.01 < logits.std() < 100  # signals neither die nor explode
    assert not torch.equal(logits[0], logits[1])


@pytest.fixture
def untrained():
    """A model of the zoo without weights."""
    register_model("aaa_untrained")(lambda: nn.Linear(1, 1))
    yield
    MODELS.remove("aaa_untrained")


@pytest.mark.usefixtures("untrained")
def test_models_without_weights_are_listed_if_asked_for_and_named():
    assert "aaa_untrained" not in list_models()
    everything = list_models(pretrained=False)
    assert everything[0] == "aaa_untrained"
    assert set(list_models()) < set(everything)
    assert everything == sorted(everything)
    with pytest.raises(ModelError, match=r"aaa_untrained\.safetensors: no such file of weights"):
        create_model("aaa_untrained")
