from xbrletools.memory.values import values


def test_bytes_read_as_integers_of_both_orders() -> None:
    found = dict(values(bytes.fromhex("fe ff ff ff 00 00 00 00")))
    assert found["u8"] == "0xfe 254 (-2)"
    assert found["u16le"] == "0xfffe 65534 (-2)"
    assert found["u16be"] == "0xfeff 65279 (-257)"
    assert found["u32le"] == "0xfffffffe 4294967294 (-2)"
    assert found["u64le"] == "0xfffffffe 4294967294"


def test_bytes_read_as_floats_and_text() -> None:
    found = dict(values(bytes.fromhex("0000c03f 41 1b 7f ff")))
    assert found["f32le"] == "1.5"
    assert found["text"] == "...?A..."


def test_only_what_fits_into_the_bytes_is_read() -> None:
    assert [name for name, _ in values(b"\x01\x02")] == ["u8", "u16le", "u16be", "text"]
