import xbrletools
from tests.siege.bounds import measured
from tests.streams import PAGE, StreamBuilder, noise
from xbrletools.sender.fingerprint import fingerprint


def test_a_claim_of_terabytes_costs_the_sender_s_model_nothing():
    last, new = (1 << 43) - PAGE, noise(2)
    stream = StreamBuilder({b"pc.ram": 1 << 43}).page(last, noise(1)).part().page(last, new)
    new = new.copy()
    new[9] ^= 1
    capture = xbrletools.open(stream.delta(last, noise(2), new).end().bytes())
    with measured() as peak:
        found = fingerprint(capture.stream)
    assert (found.choices, found.predicted) == (2, 2)
    assert peak.bytes < 16 << 20
