"""Parsers that Kaitai Struct's compiler makes of formats/exports, in three languages, against `xbrle dump --json`.

The compiler and the runtime for JavaScript come by npm, that for Python by pip, and that for C++ by apt: Debian's
source of uefitool has it. .ci/install-tools gets them.
"""

import importlib
import io
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import construct
import pytest
from construct import Struct

import xbrletools
from tests.cli.run import run
from tests.conftest import CORPUS, ROOT, SAMPLES, corpus_names
from tests.formats.made_up import PARAMETERS, READING, made_up, plain
from xbrletools.formats.dialects import DIALECTS
from xbrletools.grammars import collection
from xbrletools.grammars.walk import snake

EXPORTS = ROOT / "formats" / "exports"
HERE = Path(__file__).parent / "kaitai"
MODULES = Path(os.environ["XBRLE_KAITAI"]) / "node_modules"
CPP = MODULES.parent / "cpp"  # Kaitai's runtime for C++
CPP_HERE = shutil.which("g++") is not None and (CPP / "kaitai" / "kaitaistream.cpp").exists()
TARGETS = ("python", "javascript", "cpp_stl")

V4_SAMPLES = sorted(p.name for p in SAMPLES.glob("*.bin") if xbrletools.open(p).facts.ram_version == 4)


@dataclass(frozen=True)
class Compiled:
    """The folders with what was compiled, by target."""

    folder: Path

    def ask(self, target: str, request: list[Any]) -> Any:
        """What the parsers in one language make of a request. kaitai/read.js says what requests there are."""
        if target == "python":
            return json.loads(json.dumps(_python(self.folder / target, request)))
        if target == "javascript":
            command: list[Any] = ["node", HERE / "read.js", self.folder / target]
        else:
            command = [_built(self.folder / target), *(str(int(g) if isinstance(g, bool) else g) for g in request)]
        environment = os.environ | {"NODE_PATH": str(MODULES)}
        ran = subprocess.run(
            command,
            input=json.dumps(request) + "\n",
            capture_output=True,
            text=True,
            env=environment,
            check=False,
            timeout=300,
        )
        if "end of stream" in ran.stderr:
            raise EOFError(ran.stderr)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)


def _built(folder: Path) -> Path:
    """The program in C++, which is built when it is first asked."""
    program = folder / "read"
    if not program.exists():
        header = (folder / "xbrle_layouts.h").read_text()
        for file, word, pattern in (
            ("deltas.inc", "DELTA", r"class (ram_record_[34]_body_xbrle_\d+_t) :"),
            (
                "pages.inc",
                "PAGE",
                r"class (ram_record_3_body_page_\d+_t|ram_record_4_body_page_t|ram_compressed_page_t) :",
            ),
        ):
            (folder / file).write_text("".join(f"{word}({name})\n" for name in re.findall(pattern, header)))
        files = [HERE / "read.cpp", *folder.glob("*.cpp"), CPP / "kaitai" / "kaitaistream.cpp"]
        options = ["-std=c++11", "-O1", "-DKS_STR_ENCODING_NONE", f"-I{folder}", f"-I{CPP}"]
        subprocess.run(["g++", *options, "-o", program, *files], check=True, timeout=600)
    return program


@pytest.fixture(scope="session")
def compiled(tmp_path_factory) -> Compiled:
    if shutil.which("node") is None or not (MODULES / "kaitai-struct-compiler").is_dir():
        pytest.skip(f"kaitai-struct-compiler is not at {MODULES}; .ci/install-tools gets it")
    pytest.importorskip("kaitaistruct", reason="Kaitai's runtime for Python is not installed")
    folder = tmp_path_factory.mktemp("kaitai")
    for target in TARGETS:
        (folder / target).mkdir()
    files = [EXPORTS / "qemu_migration.ksy", EXPORTS / "qemu_multifd.ksy"]
    targets = [f"{name}:{folder / name}" for name in TARGETS]
    environment = os.environ | {"NODE_PATH": str(MODULES)}
    subprocess.run(["node", HERE / "compile.js", *files, *targets], env=environment, check=True, timeout=300)
    return Compiled(folder)


@pytest.fixture(params=TARGETS)
def target(request, compiled) -> str:
    if request.param == "cpp_stl" and not CPP_HERE:
        pytest.skip(f"g++ is not installed, or Kaitai's runtime for C++ is not at {CPP}; .ci/install-tools gets them")
    return request.param


def _module(folder: Path, name: str) -> Any:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return importlib.import_module(name)


def _python(folder: Path, request: list[Any]) -> Any:
    """As kaitai/read.js."""
    from kaitaistruct import KaitaiStream

    what, path, *given = request
    data = Path(path).read_bytes()
    if what == "multifd":
        made = _module(folder, "qemu_multifd").QemuMultifd(given[0], KaitaiStream(io.BytesIO(data)))
        return [_packet(p) for p in made.packets]
    made = _module(folder, "qemu_migration").QemuMigration(*given[1:], KaitaiStream(io.BytesIO(data[given[0] :])))
    rows = [
        (r.offset, r.kind.name, r.flags, r.address, _payload(r)) for s in made.sections if s.is_ram for r in s.records
    ]
    return {"records": rows, "last": made.sections[-1].tag.value}


def _payload(record: Any) -> int | None:
    body = getattr(record.flat if record.version == 3 else record.named, "body", None)
    kind = record.kind.name
    if kind == "xbrle":
        return len(body.value.payload)
    if kind in ("page", "compressed"):
        return len(getattr(body, "value", body).data)
    return 1 if kind == "dup" else None


def _packet(p: Any) -> tuple[Any, ...]:
    if p.is_device_state:
        return p.offset, None, None, None, None, len(p.data)
    h = p.header
    pages = p.offsets[: h.normal_pages + h.zero_pages]
    return p.offset, h.packet_number, h.normal_pages, h.zero_pages, pages, len(p.data)


def _request(path: Path, dialect: str | None = None, most: int = 0) -> list[Any]:
    """What to ask of a capture: what xbrle found of it, as parameters."""
    capture = xbrletools.open(path)
    found, configuration = capture.dialect, capture.facts.configuration
    names = [n for s in (configuration.subsections if configuration else ()) for n in _names(s.value)]
    name = (dialect or (found.name if found else "xbzrle" if capture.facts.ram_version == 4 else "m115")).replace(
        "-", "_"
    )
    host = DIALECTS[name.replace("_", "-")].host_endian
    reading = READING[f"{name}_{capture.evidence.endian or 'little'}" if host else name]
    shared, postcopy = b"x-ignore-shared" in names, b"postcopy-ram" in names
    return ["migration", str(path), capture.facts.start, reading, capture.page_size, most, shared, postcopy]


def _names(value: Any) -> tuple[bytes, ...]:
    return value if isinstance(value, tuple) else ()


def _dumped(path: Path, start: int, capsys) -> list[list[Any]]:
    """The records of the main channel, as `xbrle dump --json` prints them."""
    out = run(capsys, "dump", path, "--json", "--no-cache", "--no-beside")[1]
    rows = []
    for line in out.splitlines():
        o = json.loads(line)
        if o["type"] == "record" and o.get("channel") is None:
            kind = "xbrle" if o["kind"] == "xbzrle" else o["kind"]
            paged = o["page"] is not None
            rows.append([o["offset"] - start, kind, o["flags"], o["page"], o["length"] if paged else None])
    return rows


def _same(answer: Any, dumped: list[list[Any]], most: int = 0) -> int:
    """Assert that all records are equal, up to the first section that states no length; gives how many."""
    read = [[*r[:3], r[3] if r[4] is not None else None, r[4]] for r in answer["records"]]
    assert read == dumped[: len(read)]
    assert read
    assert len(read) == len(dumped) or answer["last"] == 4 or 0 < most <= len(read)
    return len(read)


@pytest.mark.parametrize("name", V4_SAMPLES)
def test_records_of_a_sample_are_those_of_dump(name, target, compiled, capsys):
    path = SAMPLES / name
    if name == "truncated.bin":
        with pytest.raises((AssertionError, EOFError)):
            compiled.ask(target, _request(path))
        return
    assert _same(compiled.ask(target, _request(path)), _dumped(path, 0, capsys)) > 20


#: Streams whose memory is not in records at their places, or that have none; and such as end in a record.
OUT_OF_SCOPE = ("mapped", "cprstate", ".rev")
FOLDERS = ("qemu-2011-posted", "qemu-2010", "qemu-7.2", "qemu-10", "qemu-11", "linux-guest")
CAPTURES = [
    f"{folder}/{name}"
    for folder in FOLDERS
    for name in corpus_names(folder)
    if not any(word in name for word in OUT_OF_SCOPE) and not any(f"chan{i}" in name for i in range(1, 4))
]
CUT = {"qemu-2011-posted/dbg-cancelled", "qemu-2010/sep20-crash"}
LARGE = {"qemu-7.2/pc4608-hole-plain-kvm"}  # a million records, of which the first ones are compared


@pytest.mark.parametrize("name", CAPTURES)
def test_records_of_a_real_capture_are_those_of_dump(name, compiled, corpus, tmp_path, capsys):
    path = tmp_path / "capture.bin"
    path.write_bytes(corpus(f"{name}.bin")[: 4 << 20 if name in LARGE else None])
    request = _request(path)
    if name in LARGE:
        request[5] = 20_000
    dumped = _dumped(path, request[2], capsys)
    for target in TARGETS if CPP_HERE else TARGETS[:2]:
        try:
            answer = compiled.ask(target, request)
        except EOFError:
            assert name in CUT
            request[5] = 500
            answer = compiled.ask(target, request)
        _same(answer, dumped, request[5])


MIGRATIONS = {
    "qemu-7.2/pc16-multifd-none-kvm": (1, 2),
    "qemu-7.2/pc16-multifd-zlib-kvm": (1, 2, 3),
    "qemu-10/pc16-multifd-none-zpdmultifd": (1, 2),
    "qemu-10/aarch64-virt32-multifd-zstd": (1, 2),
    "qemu-11/pc16-multifd-zlib-zpdnone": (1, 2),
}


def _packets(main: Path, capsys) -> Counter[tuple[int, int]]:
    """What `xbrle dump --json` says of a migration's channels: how often each (packet's offset, page) stands there."""
    out = run(capsys, "dump", main, "--json", "--no-cache")[1]
    rows = (json.loads(line) for line in out.splitlines())
    return Counter((o["offset"], o["page"]) for o in rows if o["type"] == "record" and o.get("channel") is not None)


def _read(target: str, compiled: Compiled, files: list[Path], page_size: int) -> Counter[tuple[int, int]]:
    found: Counter[tuple[int, int]] = Counter()
    for path in files:
        packets = compiled.ask(target, ["multifd", str(path), page_size])
        assert packets
        assert packets[-1][0] + 320 + (8 * 0x80000 // page_size) + packets[-1][5] == path.stat().st_size
        found.update((p[0], page) for p in packets for page in p[4] or ())
    return found


def test_packets_of_the_sample_s_channels_are_those_of_dump(target, compiled, capsys):
    files = [SAMPLES / "multifd.bin.1", SAMPLES / "multifd.bin.2"]
    dumped = _packets(SAMPLES / "multifd.bin", capsys)
    assert _read(target, compiled, files, 4096) == dumped
    assert len(dumped) > 20


@pytest.mark.parametrize("name", MIGRATIONS)
def test_packets_of_real_channels_are_those_of_dump(name, compiled, corpus, tmp_path, capsys):
    main, files = tmp_path / "S", []
    main.write_bytes(corpus(f"{name}.chan0.bin"))
    for i in MIGRATIONS[name]:
        files.append(tmp_path / f"S.{i}")
        files[-1].write_bytes(corpus(f"{name}.chan{i}.bin"))
    dumped = _packets(main, capsys)
    for target in TARGETS if CPP_HERE else TARGETS[:2]:
        assert _read(target, compiled, files, 4096) == dumped
    assert len(dumped) > 50


def test_a_packet_of_device_state_is_read(target, compiled):
    path = CORPUS / "cases" / "multifd" / "mfd-devstate.ch0"
    if not path.exists():
        pytest.skip(f"the corpus of real captures is not at {CORPUS}")
    packets = compiled.ask(target, ["multifd", str(path), 4096])
    assert sum(p[1] is None for p in packets) == 2


# -- random bytes ------------------------------------------------------------------------------------------------------

#: Where one refuses what the other takes, and why.
DIFFERENT = {
    "xbzrle_runs": "a row that ends inside a run: Kaitai refuses all of it, construct leaves the rest over",
    "configuration": "a subsection that is cut: the same",
    "configuration_subsection": "a name that is not known: construct refuses it, Kaitai reads no data",
}
GRAMMARS = {name: grammar for name, _, grammar in reversed(list(collection.named()))}


def _like(value: Any, like: Any) -> Any:
    """What Kaitai parsed, in the form of what construct did."""
    while type(value).__name__.endswith("Item") and hasattr(value, "entry"):  # what a row in Kaitai needs
        value = value.entry
    if isinstance(like, dict):
        if not like:
            return {}
        if hasattr(value, "value") and not any(k == "value" for k in like):
            value = value.value
        return {k: _like(getattr(value, snake(k), None), v) for k, v in like.items()}
    if isinstance(like, list):
        items = value if isinstance(value, list) else getattr(value, "items", value)
        items = getattr(items, "items", items) if not isinstance(items, list) else items
        items = [] if items is None else items
        return [_like(a, b) for a, b in zip(items, like, strict=True)] if len(items) == len(like) else "other length"
    if isinstance(like, bytes):
        text = getattr(value, "text", value)
        return text.encode("latin-1") if isinstance(text, str) else text
    if isinstance(like, int) and isinstance(value, bytes):  # 16 bytes: no tool has such an integer
        return next((n for o in ("big", "little") if (n := int.from_bytes(value, o)) == like), value)
    if isinstance(like, int) and not isinstance(value, int):
        return getattr(value, "value", value)
    return value


def _agree(name: str, made: Any, grammar: Any, parser: Any, rng: random.Random) -> Counter[str]:
    """Read made-up bytes by a type and by its grammar, and count how often both give the same."""
    from kaitaistruct import KaitaiStream

    given, seen = [PARAMETERS[p] for p in made.params], Counter()
    for data in made_up(rng, grammar, 60):
        wanted = _parsed(lambda d: plain(grammar.parse(d, **PARAMETERS)), data)
        read = _parsed(lambda d: parser(*given, KaitaiStream(io.BytesIO(d))), data)
        if wanted is None or read is None:
            assert wanted is read or name in DIFFERENT, (name, data)
            seen["refused"] += 1
            continue
        if not isinstance(grammar, Struct) and hasattr(read, "value"):
            read = read.value
        assert _like(read, wanted) == wanted, (name, data)
        seen["equal"] += 1
    return seen


def test_types_and_grammars_agree_on_random_bytes(compiled):
    layouts = _module(compiled.folder / "python", "xbrle_layouts").XbrleLayouts
    types = {t.name: t for t in collection.types()}
    rng, seen = random.Random(20), Counter()
    for name, grammar in GRAMMARS.items():
        if name in types:  # others are numbers alone, or the same grammar under another name
            parser = getattr(layouts, "".join(part.capitalize() for part in name.split("_")))
            seen += _agree(name, types[name], grammar, parser, rng)
    assert seen["equal"] > 5000, seen


def _parsed(parse: Any, data: bytes) -> Any:
    from kaitaistruct import KaitaiStructError

    try:
        return parse(data)
    except (construct.ConstructError, EOFError, KaitaiStructError):
        return None
