"""What packages are made of: one build for all Pythons, extras, what an sdist holds, the release workflow."""

import re
import shutil
import subprocess
import sysconfig
import tomllib

import pytest

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
DEVELOPERS = {"test", "docs", "fuzz", "dev", "all"}
PYTHONS = ("3.11", "3.12", "3.13", "3.14")


def extras() -> dict[str, list[str]]:
    return PROJECT["project"]["optional-dependencies"]


def test_the_extra_all_has_every_extra_that_a_user_can_want():
    (line,) = extras()["all"]
    assert set(re.fullmatch(r"xbrletools\[(.*)\]", line)[1].split(",")) == set(extras()) - DEVELOPERS


def test_each_requirement_has_a_reason_beside_or_above_it():
    lines = (
        (ROOT / "pyproject.toml")
        .read_text("utf-8")
        .partition("\ndependencies = [")[2]
        .partition("[project.scripts]")[0]
    )
    above = ""
    for line in lines.splitlines():
        if line.startswith('    "'):
            assert "# " in line or "xbrletools[" in line or above.lstrip().startswith("# "), line
        above = line


def test_what_the_tests_store_needs_is_pinned_so_that_pip_does_not_search():
    pinned = dict(line.split("==") for line in extras()["test"] if "==" in line)
    assert {"aiobotocore", "boto3"} <= set(pinned)
    assert not any(line.startswith("moto[") and "server" in line for line in extras()["test"])


def test_what_tests_import_comes_with_the_extra_test_on_every_python():
    assert any(line.startswith("zstandard") and ";" not in line for line in extras()["test"])


def test_each_python_is_named_where_pythons_are():
    named = [
        c.rpartition(" ")[2]
        for c in PROJECT["project"]["classifiers"]
        if c.startswith("Programming Language :: Python :: 3.")
    ]
    assert tuple(named) == PYTHONS
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "python: [" + ", ".join(f'"{p}"' for p in PYTHONS) + "]" in workflow
    assert PROJECT["project"]["requires-python"] == f">={PYTHONS[0]}"


def test_one_wheel_is_for_all_pythons():
    modules = PROJECT["tool"]["setuptools"]["ext-modules"]
    assert all(m["py-limited-api"] and m["optional"] for m in modules)
    tag = PROJECT["tool"]["distutils"]["bdist_wheel"]["py-limited-api"]
    assert tag == "cp" + PYTHONS[0].replace(".", "")
    for source in (s for m in modules for s in m["sources"]):
        limit = re.search(r"#define Py_LIMITED_API 0x(\w{8})", (ROOT / source).read_text("utf-8"))[1]
        assert f"{int(limit[:2], 16)}.{int(limit[2:4], 16)}" == PYTHONS[0]


@pytest.mark.parametrize("source", ["codec/_native.c", "arrow/_release.c"])
def test_what_is_in_c_keeps_to_the_stable_interface(source):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler")
    flags = [
        "-std=c99",
        "-fsyntax-only",
        "-Werror=implicit-function-declaration",
        f"-I{sysconfig.get_paths()['include']}",
    ]
    done = subprocess.run([compiler, *flags, ROOT / "xbrletools" / source], capture_output=True, text=True, check=False)
    if "Python.h" in done.stderr:
        pytest.skip("the headers of Python are not installed")
    assert done.returncode == 0, done.stderr


def test_the_workflow_says_that_it_was_not_run_and_calls_what_is_there():
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8")
    assert "It has not been run" in workflow
    script = ROOT / ".ci" / "build-wheels"
    assert "sh .ci/build-wheels" in workflow and script.exists()
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0


def test_a_pure_wheel_is_what_is_left_without_the_extension():
    script = (ROOT / ".ci" / "build-wheels").read_text("utf-8")
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    for begin, end in re.findall(r"-e '/\^(.*?)/,/(.*?)/d'", script):
        assert end == "^$"
        text, count = re.subn(rf"(?m)^{begin}(?:\n.+)*\n$", "", text)
        assert count >= 1
    left = tomllib.loads(text)["tool"]
    assert "ext-modules" not in left["setuptools"] and "distutils" not in left
    assert {k: v for k, v in left.items() if k not in ("setuptools",)} == {
        k: v for k, v in PROJECT["tool"].items() if k not in ("setuptools", "distutils")
    }


def test_an_sdist_is_told_of_every_folder_that_tests_and_documents_need():
    manifest = (ROOT / "MANIFEST.in").read_text("utf-8")
    for folder in ("tests", "docs", "samples", "formats", "benchmarks", ".ci", ".github"):
        assert f"graft {folder}\n" in manifest
        assert (ROOT / folder).is_dir()
