"""What the table of dialects says goes together: its columns agree where the wire ties them to each other."""

from xbrletools.formats.dialects import DIALECTS, Checksum, Dialect, Loader

ALL = tuple(DIALECTS.values())


def on_the_wire(dialect: Dialect) -> tuple[object, ...]:
    return (dialect.ram_version, dialect.header, dialect.encoding, dialect.length_counts)


def test_the_posted_receiver_loads_every_dialect_of_its_own_layout_and_no_other():
    posted = on_the_wire(DIALECTS["posted"])
    for dialect in ALL:
        assert (dialect.loader is Loader.POSTED) == (on_the_wire(dialect) == posted), dialect.name


def test_a_last_choice_has_a_twin_that_is_chosen_instead():
    for dialect in (d for d in ALL if d.last_choice):
        same = [d for d in ALL if on_the_wire(d) == on_the_wire(dialect) and d.page_sum == dialect.page_sum]
        assert any(not d.last_choice and d.checksum is dialect.checksum for d in same), dialect.name


def test_sums_that_are_always_there_tell_a_dialect_from_one_whose_flags_say_so():
    for dialect in (d for d in ALL if d.always_sums):
        same = [d for d in ALL if on_the_wire(d) == on_the_wire(dialect)]
        assert dialect.checksum is Checksum.SUM
        assert any(d.checksum is Checksum.FLAGGED for d in same), dialect.name


def test_a_header_has_a_checksum_field_where_the_dialect_has_checksums():
    for dialect in ALL:
        names = [part.name for part in dialect.header("little").subcons]
        assert "checksum" in names or dialect.checksum is Checksum.NONE, dialect.name
        assert names[0] == "flags" and "length" in names


def test_only_debug_builds_put_sums_before_pages():
    assert all(d.debug_build for d in ALL if d.page_sum)


def test_a_header_in_no_host_order_is_the_same_in_both():
    for dialect in (d for d in ALL if not d.host_endian):
        fields = {"flags": 1, "length": 0x0102, "padding": 0, "checksum": 0x01020304}
        assert dialect.header("little").build(fields) == dialect.header("big").build(fields)
