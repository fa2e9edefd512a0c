import pytest

import xbrletools
from tests.streams import StreamBuilder, noise
from xbrletools.sender.fingerprint import fingerprint


def test_a_claim_of_terabytes_is_refused_before_it_costs_anything():
    capture = xbrletools.open(StreamBuilder({b"pc.ram": 1 << 43}).page(0, noise(1)).bytes())
    with pytest.raises(xbrletools.XbrleError, match="modelled"):
        fingerprint(capture.stream)
