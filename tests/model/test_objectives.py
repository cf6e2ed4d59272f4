"""The three objectives: totals, frozen parts, terms that are not computed, and decrease in training."""

import math

import pytest
import torch
from torch.nn.functional import interpolate, mse_loss

from model import loss
from model.objectives import InverseHalfObjective, JointObjective, WarmObjective
from model.prior import Prior
from model.reshalf import InverseHalf, ResHalf
from model.start import readable_amplitude, start_target

WARM = {"tone": 0.6, "quantize": 0.2, "structure": 0.0, "blue_noise": 0.3, "feature": 1.0}
JOINT = {
    "tone": 0.6,
    "quantize": 0.1,
    "structure": 0.0,
    "blue_noise": 0.3,
    "restore": 1.0,
    "chroma": 0.0,
    "perceptual": 0.0,
}


def batch(size=32, count=2, prior=False):
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, 3, 4, 4, generator=generator) * 1.6 - 0.8
    colour = interpolate(coarse, size=(size, size), mode="bilinear")
    special = (torch.rand(count, 3, 1, 1, generator=generator) * 1.6 - 0.8).expand(count, 3, size, size)
    binary = torch.rand(3, count, 1, size, size, generator=generator).round() * 2 - 1
    made = {"colour": colour, "reference": binary[0], "special_colour": special, "special_reference": binary[1]}
    return made | ({"prior": binary[2], "special_prior": binary[1]} if prior else {})


def tiny(prior=None):
    torch.manual_seed(0)
    return ResHalf(4, prior)


def terms_of(objective, data):
    """The terms of a training step."""
    return objective(objective.draw(data))


def encode_both(network, data):
    """Continuous halftones of photographs and constant colours, and halftones of the former, with noise of seed 7."""
    torch.manual_seed(7)
    both = network.encode(torch.cat((data["colour"], data["special_colour"])), seed=None)
    return both.continuous[:2], both.continuous[2:], both.halftone[:2]


@pytest.mark.parametrize("feature_target", ["reference", "gray"])
def test_the_warm_up_total_is_the_weighted_sum(feature_target):
    data, network, extractor = batch(), tiny(), InverseHalf(4)
    photo, special, _ = encode_both(network, data)
    gray, special_gray = loss.gray(data["colour"]), loss.gray(data["special_colour"])
    target = extractor(data["reference"]) if feature_target == "reference" else gray
    expected = (
        0.6 * loss.tone_loss(photo, gray)
        + 0.3 * loss.tone_loss(special, special_gray)
        + 0.2 * (0.5 * loss.quantize_loss(photo) + 0.5 * loss.quantize_loss(special))
        + 0.3 * loss.blue_noise_loss(special, special_gray)
        + 1.0 * mse_loss(extractor(photo), target)
    )
    objective = WarmObjective(network, WARM, extractor, feature_target)
    torch.manual_seed(7)
    terms = terms_of(objective, data)
    torch.testing.assert_close(terms["total"], expected)
    assert set(terms) == {"tone", "tone_special", "quantize", "blue_noise", "feature", "total"}
    terms["total"].backward()
    assert all(parameter.grad is None for parameter in network.decoder.parameters())
    assert all(parameter.grad is None for parameter in extractor.parameters())
    assert all(parameter.grad is not None for parameter in network.encoder.parameters())


@pytest.mark.parametrize("quantized", [False, True])
def test_the_joint_total_is_the_weighted_sum(quantized):
    data, network = batch(), tiny()
    photo, special, halftone = encode_both(network, data)
    gray, special_gray = loss.gray(data["colour"]), loss.gray(data["special_colour"])
    judged = (lambda x: torch.where(x > 0, 1.0, -1.0)) if quantized else (lambda x: x)
    expected = (
        0.6 * loss.tone_loss(judged(photo), gray)
        + 0.3 * loss.tone_loss(judged(special), special_gray)
        + 0.1 * (0.5 * loss.quantize_loss(photo) + 0.5 * loss.quantize_loss(special))
        + 0.3 * loss.blue_noise_loss(judged(special), special_gray)
        + 1.0 * mse_loss(network.decode(halftone), data["colour"])
    )
    objective = JointObjective(network, JOINT, quantized_tone=quantized)
    torch.manual_seed(7)
    terms = terms_of(objective, data)
    torch.testing.assert_close(terms["total"], expected)
    terms["total"].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_without_a_trainable_encoder_only_the_restoration_is_computed():
    network = tiny(Prior())
    terms = terms_of(JointObjective(network, JOINT), batch(prior=True))
    assert set(terms) == {"restore", "total"}


def test_a_frozen_encoder_gets_no_gradient():
    network = tiny(Prior(correction=True))
    terms = terms_of(JointObjective(network, JOINT, freeze="encoder"), batch(prior=True))
    terms["total"].backward()
    assert set(terms) == {"restore", "total"}
    assert all(parameter.grad is None for parameter in network.encoder.parameters())


def test_terms_are_float32_where_the_networks_run_in_bfloat16():
    data, network = batch(), tiny()
    with torch.autocast("cpu", torch.bfloat16):
        torch.manual_seed(7)
        terms = terms_of(JointObjective(network, JOINT), data)
        torch.manual_seed(7)
        both = network.encode(torch.cat((data["colour"], data["special_colour"])), seed=None)
    assert all(term.dtype == torch.float32 for term in terms.values())
    photo = both.continuous[:2].float()
    torch.testing.assert_close(terms["tone"], loss.tone_loss(photo, loss.gray(data["colour"])))


def test_the_chroma_term_is_the_error_of_the_opponent_colours():
    data, network = batch(), tiny()
    *_, halftone = encode_both(network, data)
    torch.manual_seed(7)
    terms = terms_of(JointObjective(network, JOINT | {"chroma": 2.0}), data)
    found, true = loss.opponents(network.decode(halftone)), loss.opponents(data["colour"])
    torch.testing.assert_close(terms["chroma"], mse_loss(found, true))
    torch.manual_seed(7)
    torch.testing.assert_close(
        terms["total"], terms_of(JointObjective(network, JOINT), data)["total"] + 2 * terms["chroma"]
    )
    red, luma = torch.tensor([-1.0, -1.0, 1.0]).view(1, 3, 1, 1), 2 * 0.299 - 1
    cr, cb = 0.713 * (1 - luma), 0.564 * (-1 - luma)
    expected = [(cr - cb) / math.sqrt(2), math.sqrt(2) * (cr + cb)]
    assert loss.opponents(red).flatten().tolist() == pytest.approx(expected)


def test_a_decoder_can_learn_from_the_dithers_that_carry_colour():
    data, network = batch(), ResHalf(4, noise="blue")
    settings = {"freeze": "encoder", "decoder_input": "orientation"}
    objective = JointObjective(network, JOINT, **settings)
    torch.manual_seed(7)
    terms = terms_of(objective, data)
    torch.manual_seed(7)
    condition = network.condition(data["colour"], seed=None)
    amplitude = readable_amplitude(len(condition), condition.device)
    halftone = start_target("orientation", "blue", data["colour"], condition, amplitude)
    torch.testing.assert_close(terms["restore"], mse_loss(network.decode(halftone), data["colour"]))
    terms["total"].backward()
    assert all(parameter.grad is None for parameter in network.encoder.parameters())
    shown = objective.predict(data)
    expected = start_target("orientation", "blue", data["colour"], network.condition(data["colour"]))
    assert torch.equal(shown["halftone"], expected)
    torch.testing.assert_close(shown["restored"], network.decode(expected))
    for other in ({"freeze": "none"}, {"network": tiny(Prior())}):
        with pytest.raises(ValueError, match='decoderInput "orientation" needs'):
            JointObjective(**({"network": network, "weights": JOINT} | settings | other))


@pytest.mark.parametrize("target", ["random", "orientation"])
def test_the_start_is_minimised_alone_in_the_first_steps_and_added_in_the_later_ones(target):
    data, network = batch(), ResHalf(4, noise="blue")
    colour = torch.cat((data["colour"], data["special_colour"]))
    torch.manual_seed(7)
    noise = network.condition(colour, seed=None)
    expected = mse_loss(network.encode(colour, condition=noise).continuous, start_target(target, "blue", colour, noise))
    objective = WarmObjective(network, WARM, InverseHalf(4), start=target, start_steps=2, start_weight=0.5)
    for step in (0, 1, 2):
        objective.step = step
        torch.manual_seed(7)
        terms = terms_of(objective, data)
        torch.testing.assert_close(terms["start"], expected)
        assert (set(terms) == {"start", "total"}) == (step < 2)
    objective.start_weight = 0.0
    torch.manual_seed(7)
    without = terms_of(objective, data)
    assert "start" not in without
    torch.testing.assert_close(terms["total"], without["total"] + 0.5 * expected)
    with pytest.raises(ValueError, match="noise channel"):
        WarmObjective(tiny(Prior(correction=True)), WARM, InverseHalf(4), start_steps=1)


def test_constant_colours_are_optional():
    data = {key: value for key, value in batch().items() if not key.startswith("special")}
    assert set(terms_of(JointObjective(tiny(), JOINT), data)) == {"tone", "quantize", "restore", "total"}


def test_bit_flips_reach_the_decoder():
    network, data = tiny(Prior()), batch(prior=True)
    exact = terms_of(JointObjective(network, JOINT), data)["restore"]
    torch.manual_seed(0)
    flipped = terms_of(JointObjective(network, JOINT, bit_flip=0.2), data)["restore"]
    assert not torch.equal(exact, flipped)


def test_predict_is_deterministic_and_does_not_change_the_rng_state():
    objective = JointObjective(tiny(), JOINT)
    state = torch.random.get_rng_state()
    first, second = objective.predict(batch()), objective.predict(batch())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(torch.equal(first[key], second[key]) for key in ("halftone", "restored", "target"))


OBJECTIVES = [
    pytest.param(lambda: InverseHalfObjective(InverseHalf(4)), False, id="inverse"),
    pytest.param(lambda: WarmObjective(tiny(), WARM, InverseHalf(4)), False, id="warm"),
    pytest.param(lambda: JointObjective(tiny(), JOINT), False, id="joint"),
    pytest.param(lambda: JointObjective(tiny(Prior(correction=True)), JOINT), True, id="prior"),
    pytest.param(lambda: JointObjective(tiny(Prior()), JOINT), True, id="decoder"),
]


@pytest.mark.parametrize(("make", "prior"), OBJECTIVES)
def test_every_objective_decreases_in_training(make, prior):
    torch.manual_seed(0)
    objective, data = make(), batch(prior=prior)
    parameters = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, 5e-3)
    totals = []
    for _ in range(40):
        optimizer.zero_grad()
        total = terms_of(objective, data)["total"]
        total.backward()
        optimizer.step()
        totals.append(total.item())
    assert sum(totals[-5:]) < 0.9 * sum(totals[:5])


def test_missing_networks_and_nothing_to_train_are_errors():
    with pytest.raises(ValueError, match="extractor"):
        WarmObjective(tiny(), WARM, None)
    with pytest.raises(ValueError, match="VGG19"):
        JointObjective(tiny(), JOINT | {"perceptual": 0.1})
    with pytest.raises(ValueError, match="nothing to train"):
        JointObjective(tiny(Prior()), JOINT, freeze="decoder")


def test_a_decoder_without_a_loss_term_is_frozen():
    """Otherwise distributed training would wait for its gradients."""
    warm = WarmObjective(tiny(), WARM, InverseHalf(4), freeze="none")
    joint = JointObjective(tiny(), JOINT | {"restore": 0.0})
    for objective in (warm, joint):
        terms_of(objective, batch())["total"].backward()
        trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
        assert trained and all(parameter.grad is not None for parameter in trained)
    with pytest.raises(ValueError, match="nothing to train"):
        JointObjective(tiny(), JOINT | {"restore": 0.0}, freeze="encoder")


def test_with_the_drift_guard_outputs_out_of_range_are_not_pushed_further_out():
    data = {"colour": torch.full((1, 3, 32, 32), 1.5)}  # brighter than white: the tone term always asks for more
    for guard in (False, True):
        network = tiny()
        torch.nn.init.constant_(network.encoder.outConv[-1].bias, 3.0)
        weights = dict.fromkeys(JOINT, 0.0) | {"tone": 1.0}
        objective = JointObjective(network, weights, quantized_tone=True, drift_guard=guard)
        terms_of(objective, data)["total"].backward()
        assert (network.encoder.outConv[-1].bias.grad.abs().item() == 0) == guard
