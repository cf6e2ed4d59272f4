"""Initial weights from the checkpoint of a smaller network."""

import torch

from model.reshalf import ResHalf
from training.initial import load_initial
from utils.checkpoint import write_checkpoint


def test_added_blocks_leave_the_output_of_the_initial_weights_as_it_is(tmp_path):
    short, grown = (ResHalf(8, {"halftone": "error_diffusion"}, decoder="subpixel", blocks=n) for n in (1, 3))
    for parameter in short.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    write_checkpoint(tmp_path / "short.pth.tar", {"state_dict": short.state_dict()})
    assert load_initial(grown, str(tmp_path / "short.pth.tar")) == []
    halftone = torch.randn(1, 1, 16, 16).sign()
    with torch.no_grad():
        assert torch.equal(grown.eval().decode(halftone), short.eval().decode(halftone))
