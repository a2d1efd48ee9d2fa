"""Locks and manifests as other people have them, cut down to what was read wrongly."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from wingspan.delivery.bundle_source import processor_requirement
from wingspan.delivery.prepare import prepare
from wingspan.environments import Environment, Workspace, derive_needs, load_environment
from wingspan.environments.bundles.packages.fetch import fetch_packages
from wingspan.environments.errors import LockOutdated, ManifestInvalid
from wingspan.jobs import Resources, with_needs

CHANNEL = "https://conda.example.org/main"
SHA = "cafebabe" * 8

Write = Callable[..., Path]


def lock(
    *entries: str,
    platform: str = "linux-64",
    subdir: str = "",
    virtual: Iterable[str] = (),
    version: int = 7,
) -> str:
    """A lock of one environment on one platform; an entry is ``noarch/a-1.0-0.conda`` or a whole entry
    with its facts.
    """
    whole = [entry if ":" in entry else f"conda: {CHANNEL}/{entry}" for entry in entries]
    lines = [f"version: {version}"]
    if version == 7:
        lines += ["platforms:", f"- name: {platform}", *([f"  subdir: {subdir}"] if subdir else [])]
        lines += ["  virtual-packages:", *(f"  - {one}" for one in virtual)] if virtual else []
    lines += ["environments:", "  default:", "    channels:", f"    - url: {CHANNEL}/", "    packages:"]
    lines += [f"      {platform}:", *(f"      - {entry.splitlines()[0]}" for entry in whole), "packages:"]
    for entry in whole:
        first, *rest = entry.splitlines()
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
        if first.startswith("conda: "):
            lines += [f"  sha256: {SHA}", "  size: 100"]
    return "\n".join(lines) + "\n"


def manifest(text: str, platforms: str = '"linux-64"') -> str:
    head = f'[workspace]\nname = "t"\nchannels = ["{CHANNEL}"]\nplatforms = [{platforms}]\n'
    return f'{head}preview = ["pixi-build"]\n{text}'


def depends(entry: str, *specs: str, field: str = "depends") -> str:
    return "\n".join([f"conda: {CHANNEL}/{entry}", f"{field}:", *(f"- '{spec}'" for spec in specs)])


HELPER = "noarch/helper-1.0-0.conda"
CUDA = '{ name = "gpu", platform = "linux-64", cuda = "12" }, "linux-64"'
SOURCE = "conda_source: mine[0123abcd] @ mine\nversion: null\ndepends:\n- helper >=1\n- __glibc >=2.34\nsource:\n  path: mine"


def test_what_the_lock_says_of_a_source_package_counts(write_workspace: Write) -> None:
    """Its dependencies are wanted, and the glibc that it needs is asked for."""
    folder = write_workspace(manifest('[dependencies]\nmine = { path = "mine" }'), lock(HELPER, SOURCE))
    env = load_environment(folder)
    assert derive_needs(env).glibc_min == "2.34"
    assert "is a conda source package (mine)" in str([str(problem) for problem in env.problems()])


def test_a_source_package_is_told_by_its_own_platform_and_environment(write_workspace: Write) -> None:
    """Of two variants of one name each platform gets what its own asks for."""
    text = lock(HELPER, SOURCE)
    text = text.replace(
        "      linux-64:", "      linux-aarch64:\n      - conda_source: mine[4567] @ mine\n      linux-64:"
    )
    text = text.replace("- name: linux-64\n", "- name: linux-64\n- name: linux-aarch64\n")
    text += "- conda_source: mine[4567] @ mine\n  depends:\n  - __glibc >=2.39\n"
    folder = write_workspace(
        manifest('[dependencies]\nmine = { path = "mine" }', '"linux-64", "linux-aarch64"'), text
    )
    found = [
        derive_needs(load_environment(folder, platform=p)).glibc_min for p in ("linux-64", "linux-aarch64")
    ]
    assert found == ["2.34", "2.39"]


TOML11 = [
    '[dependencies]\nhelper = {\n  version = "*",\n  build = "0",\n}',
    '[dependencies]\nhelper = { version = "*", # any\n  build = "\\x30", }',
    '[environments.default]\ndependencies = {\n  helper = "*",\n}\ntasks = {\n  say = {\n    cmd = "echo",\n  },\n}',
]


@pytest.mark.parametrize("text", TOML11)
def test_toml_1_1_is_read(write_workspace: Write, text: str) -> None:
    """Pixi reads TOML 1.1 since 0.73: tables over several lines, commas at their ends, new escapes."""
    env = load_environment(write_workspace(manifest(text), lock(HELPER)))
    assert [package.name for package in env.packages] == ["helper"]


def test_an_environment_has_dependencies_and_tasks_of_its_own(write_workspace: Write) -> None:
    """Inline content (Pixi 0.74) is this environment's alone, and comes before that of its features."""
    text = """
[tasks]
say = "echo default"
[dependencies]
a = "*"
[environments.default.dependencies]
helper = "*"
[environments.default.tasks]
say = "echo own"
[environments.other]
features = []
"""
    both = lock(HELPER, "noarch/a-1.0-0.conda")
    other = f"  other:\n    channels:\n    - url: {CHANNEL}/\n    packages:\n      linux-64:\n      - conda: {CHANNEL}/noarch/a-1.0-0.conda\n"
    workspace = Workspace.open(
        write_workspace(manifest(text), both.replace("  default:", f"{other}  default:"))
    )
    assert [package.name for package in workspace.load().packages] == ["a", "helper"]
    assert [package.name for package in workspace.load("other").packages] == ["a"]
    assert workspace.task("say").cmd == "echo own"
    assert workspace.task("say", "other").cmd == "echo default"


CONDITIONS = [
    ('"__cuda>=12"', True),
    ('"__cuda >=13"', False),
    ('{ all = ["__unix", "__cuda"] }', True),
    ('{ any = ["__win", "__osx"] }', False),
    ('{ package = "helper", version = ">=1" }', True),
    ('{ package = "helper", version = ">=2" }', False),
    ('"helper <1"', False),
]


@pytest.mark.parametrize(("when", "holds"), CONDITIONS)
def test_a_condition_decides_whether_a_dependency_is_asked_for(
    write_workspace: Write, when: str, holds: bool
) -> None:
    """Where `when` holds on the platform and the lock lacks the package it is outdated, elsewhere it is
    not.
    """
    text = manifest(f'[dependencies]\nhelper = "*"\nextra = {{ version = "*", when = {when} }}', CUDA)
    folder = write_workspace(text, lock(HELPER, platform="gpu", subdir="linux-64", virtual=["__cuda=12"]))
    if holds:
        with pytest.raises(LockOutdated, match="the manifest asks for extra"):
            load_environment(folder, gpus=True)
    else:
        assert len(load_environment(folder, gpus=True).packages) == 1


def test_a_condition_that_the_lock_does_not_decide_refuses_nothing(write_workspace: Write) -> None:
    """Whether the package must be there cannot be told: it may be there, and it may not."""
    text = manifest('[dependencies]\nhelper = "*"\nextra = { version = "*", when = "__archspec=*=skylake" }')
    for entries in ([HELPER], [HELPER, "noarch/extra-1.0-0.conda"]):
        assert load_environment(write_workspace(text, lock(*entries)))


PYTHON = "linux-64/python-3.12.3-hab00c5b_0_cpython.conda"
MARKERS = [
    ("sys_platform == 'linux'", True),
    ("sys_platform == 'win32'", False),
    ("python_version < '3.11'", False),
    ("python_version >= '3.11' and platform_machine == 'x86_64'", True),
    ("platform_release == '6.1'", None),
]


@pytest.mark.parametrize(("marker", "holds"), MARKERS)
@pytest.mark.parametrize("style", ["env-markers", "pyproject"])
def test_an_environment_marker_decides_whether_a_requirement_is_asked_for(
    write_workspace: Write, marker: str, holds: bool | None, style: str
) -> None:
    """As with `when`: it is evaluated for the lock's platform and its Python, not for this machine."""
    if style == "pyproject":
        text = manifest("").replace("[workspace]", "[tool.pixi.workspace]")
        text = f'[project]\nname = "t"\ndependencies = ["attrs>=1; {marker}"]\n{text}[tool.pixi.dependencies]\npython = "*"'
        folder = write_workspace(text, lock(PYTHON), name="pyproject.toml")
    else:
        requirement = f'attrs = {{ version = ">=1", env-markers = "{marker}" }}'
        text = manifest(f'[dependencies]\npython = "*"\n[pypi-dependencies]\n{requirement}')
        folder = write_workspace(text, lock(PYTHON))
    if holds:
        with pytest.raises(LockOutdated, match="asks for attrs"):
            load_environment(folder)
    else:
        assert len(load_environment(folder).packages) == 1


def test_requirements_of_one_name_with_other_markers_all_count(write_workspace: Write) -> None:
    """The one whose marker holds is compared, wherever it stands in the list."""
    pypi = f"pypi: https://h/attrs-{{v}}-py3-none-any.whl\nname: attrs\nversion: '{{v}}'\nsha256: {SHA}"
    text = manifest("").replace("[workspace]", "[tool.pixi.workspace]")
    text = (
        '[project]\nname = "t"\ndependencies = ["attrs>=2; python_version>=\'3.11\'", "attrs<2; python_version<\'3.11\'"]\n'
        f'{text}[tool.pixi.dependencies]\npython = "*"'
    )
    for version, fresh in (("2.0", True), ("1.0", False)):
        folder = write_workspace(text, lock(PYTHON, pypi.format(v=version)), name="pyproject.toml")
        mismatches = Workspace.open(folder).mismatches(load_environment(folder, check_lock=False))
        assert (mismatches == ()) is fresh


@pytest.mark.parametrize("place", ["pkgs/pkg-1.0-0.conda", "./pkgs/pkg-1.0-0.conda", "absolute", "uri"])
@pytest.mark.parametrize("version", [6, 7])
def test_an_archive_that_is_named_by_its_path_is_no_source(
    write_workspace: Write, channel: object, place: str, version: int
) -> None:
    """A dependency on a .conda archive is binary: the lock is fresh, and the archive is found beside it."""
    made: Path = channel.add("pkg", "1.0", "0", {"share/pkg": b"x"}, subdir="noarch")  # type: ignore[attr-defined]
    import hashlib

    sha = hashlib.sha256(made.read_bytes()).hexdigest()
    folder = write_workspace(manifest('[dependencies]\npkg = { path = "pkgs/pkg-1.0-0.conda" }'), None)
    archive = folder / "pkgs/pkg-1.0-0.conda"
    archive.parent.mkdir()
    archive.write_bytes(made.read_bytes())
    named = {"absolute": str(archive), "uri": archive.as_uri()}.get(place, place)
    facts = "name: pkg\nversion: '1.0'\nbuild: '0'\nsubdir: noarch\ndepends: []"
    text = lock(f"conda: {named}\n{facts}", version=version).replace(SHA, sha)
    (folder / "pixi.lock").write_text(text)
    env = load_environment(folder)
    assert [package.form for package in env.packages] == ["conda"]
    (found,) = fetch_packages(env)
    assert zipfile.is_zipfile(found.path)


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ('channel = "main"', True),
        ('channel = "defaults"', True),
        (f'channel = "{CHANNEL}/"', True),
        ('channel = "https://mirror.example.org/main/"', False),
        ('channel = "other/main"', False),
        ('channel = "nvidia"', False),
        ('subdir = "noarch"', True),
        ('subdir = "linux-64"', False),
        ('file-name = "helper-1.0-0.conda"', True),
        ('file-name = "helper-1.0-1.conda"', False),
        ('build-number = ">=0"', True),
        ('build-number = ">=9"', False),
        (f'sha256 = "{SHA.upper()}"', True),
        (f'sha256 = "{"0" * 64}"', False),
    ],
)
def test_all_that_a_manifest_asks_of_a_package_counts(write_workspace: Write, asked: str, fits: bool) -> None:
    """Not only version and build: a lock with another one is outdated."""
    text = manifest(f'[dependencies]\nhelper = {{ version = "*", {asked} }}')
    if fits:
        assert load_environment(write_workspace(text, lock(HELPER)))
    else:
        with pytest.raises(LockOutdated, match="asks for helper"):
            load_environment(write_workspace(text, lock(HELPER)))


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("__win", "no machine of linux-64 has that"),
        ("__osx >=11", "no machine of linux-64 has that"),
        ("__linux >=6.5", "that version of the kernel"),
        ("__quantum >=1", "it is not known here which machines have that"),
        ("__linux", None),
        ("__linux >=4.18", None),
        ("__unix", None),
        ("__linux <6", "that version of the kernel"),
        ("__glibc >=2.17", None),
        ("__glibc >=2.17,<3.0.a0", None),
        ("__glibc >=2.17,<2.30", "a glibc that is older"),
        ("__win; if __win", None),
    ],
)
def test_a_virtual_package_of_which_no_need_is_made_is_told(
    write_workspace: Write, spec: str, says: str | None
) -> None:
    """A condition of the lock is not dropped in silence."""
    text = lock(depends("linux-64/libx-1.0-0.conda", spec), depends("linux-64/liby-1.0-0.conda", spec))
    needs = derive_needs(load_environment(write_workspace(None, text)), caches=())
    told = [warning for warning in needs.warnings if spec in warning]
    assert len(told) == (1 if says else 0)
    assert says is None or says in told[0]


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("__linux >=6.5", "allows only"),
        ("__glibc <2.30", "allows only"),
        ("__win", None),
        ("__quantum", None),
    ],
)
def test_a_constraint_of_what_each_machine_has_is_told(
    write_workspace: Write, spec: str, says: str | None
) -> None:
    """Each machine has a kernel and a glibc, so that a constraint holds as a dependency does."""
    text = lock(depends("linux-64/libx-1.0-0.conda", spec, field="constrains"))
    needs = derive_needs(load_environment(write_workspace(None, text)), caches=())
    told = [warning for warning in needs.warnings if spec in warning]
    assert [bool(says) and str(says) in each for each in told] == ([True] if says else [])


def test_a_constraint_of_the_processor_is_a_need(write_workspace: Write) -> None:
    """A package that allows only newer processors needs one."""
    text = lock(depends("linux-64/libx-1.0-0.conda", "__archspec 1 x86_64_v3", field="constrains"))
    assert derive_needs(load_environment(write_workspace(None, text)), caches=()).microarch_min == "x86_64-v3"


def test_an_archive_of_another_name_is_outdated(write_workspace: Write) -> None:
    """The manifest names another archive than the lock has."""
    text = manifest(f'[dependencies]\nhelper = {{ url = "{CHANNEL}/noarch/helper-2.0-0.conda" }}')
    with pytest.raises(LockOutdated, match="asks for helper from a url"):
        load_environment(write_workspace(text, lock(HELPER)))
    text = text.replace("helper-2.0", "helper-1.0")
    assert load_environment(write_workspace(text, lock(HELPER)))


SOURCES = [
    ("path = 'mine'", True),
    ("git = 'https://h/mine'", False),
    ("url = 'https://h/mine.tar.gz'", False),
]


@pytest.mark.parametrize(("said", "fresh"), SOURCES)
def test_a_source_package_is_of_the_kind_that_the_manifest_names(
    write_workspace: Write, said: str, fresh: bool
) -> None:
    """A folder is neither a git address nor an archive of sources."""
    folder = write_workspace(manifest(f"[dependencies]\nmine = {{ {said} }}"), lock(HELPER, SOURCE))
    mismatches = Workspace.open(folder).mismatches(load_environment(folder, check_lock=False))
    assert (mismatches == ()) is fresh


def test_what_extras_of_conda_packages_bring_is_wanted(write_workspace: Write) -> None:
    """An extra's packages are asked for by the package whose extra it is."""
    entry = f"conda: {CHANNEL}/noarch/helper-1.0-0.conda\nextra_depends:\n  more:\n  - other"
    text = manifest('[dependencies]\nhelper = { version = "*", extras = ["more"] }')
    assert load_environment(write_workspace(text, lock(entry, "noarch/other-1.0-0.conda")))


GLIBC = [
    ("constrains", "__glibc >=2.34", "2.34"),
    ("depends", "__glibc >=2.28,<3.0.a0", "2.28"),
    ("depends", "__glibc 2.31.*", "2.31"),
    ("depends", '__glibc >=2.39[when="__win"]', "2.17"),
    ("depends", '__glibc >=2.35[when="__linux"]', "2.35"),
    ("depends", "__glibc >=2.35; if __unix", "2.35"),
]


@pytest.mark.parametrize(("field", "spec", "needed"), GLIBC)
def test_bounds_are_read_from_dependencies_and_constraints(
    write_workspace: Write, field: str, spec: str, needed: str
) -> None:
    """Whatever the form of a bound and wherever it stands, unless its condition does not hold."""
    text = lock(depends(HELPER, spec, field=field), depends("noarch/a-1.0-0.conda", "__glibc >=2.17"))
    assert derive_needs(load_environment(write_workspace(None, text))).glibc_min == needed


def test_the_lowest_cuda_that_a_package_works_with_is_not_the_one_it_was_built_for(
    write_workspace: Write,
) -> None:
    """A package for CUDA 12 and 13 beside CUDA 13 is no mixture: the locked cuda-version counts."""
    text = lock(
        depends("noarch/cuda-version-13.3-hcbadf70_3.conda", "__cuda >=13", field="constrains"),
        depends("noarch/cuda-pathfinder-1.5.6-pyhc364b38_0.conda", "cuda-version >=12.0,<14"),
        depends("linux-64/cuda-cudart-13.3.29-hecca717_0.conda", "cuda-version >=13.3,<13.4.0a0"),
    )
    needs = derive_needs(load_environment(write_workspace(None, text)), caches=())
    assert not [warning for warning in needs.warnings if "mixed" in warning]
    assert needs.cuda_runtime_min == "13.0"


def test_only_a_range_of_one_major_tells_the_cuda_where_no_cuda_version_is_locked(
    write_workspace: Write,
) -> None:
    """A bound that several majors satisfy says nothing of the one that is there."""
    wide = depends("noarch/a-1.0-0.conda", "cuda-version >=11,<14")
    narrow = depends("linux-64/b-1.0-0.conda", "cuda-version >=12.9,<13")
    needs = derive_needs(load_environment(write_workspace(None, lock(wide, narrow))), caches=())
    assert (needs.cuda_runtime_min, [w for w in needs.warnings if "mixed" in w]) == ("12.0", [])


def test_a_platform_is_compared_by_what_it_is(write_workspace: Write) -> None:
    """A name that means another machine now is refused, and so is a platform that the manifest has no
    more.
    """
    text = manifest('[dependencies]\nhelper = "*"', '{ name = "extra", platform = "linux-aarch64" }')
    with pytest.raises(LockOutdated, match="platform extra: the manifest is of linux-aarch64"):
        load_environment(write_workspace(text, lock(HELPER, platform="extra", subdir="linux-64")))
    text = manifest('[dependencies]\nhelper = "*"', '"linux-aarch64"')
    with pytest.raises(LockOutdated, match="does not list it"):
        load_environment(write_workspace(text, lock(HELPER)))


@pytest.mark.parametrize("field", ["depends", "constrains"])
def test_a_driver_that_a_package_asks_for_beyond_the_rule_is_explained(
    write_workspace: Write, field: str
) -> None:
    """CUDA 12 runs on any driver of CUDA 12: who asks for more is named, and what follows."""
    text = lock(
        depends("noarch/cuda-version-12.6-h7480c83_3.conda", "__cuda >=12", field="constrains"),
        depends("linux-64/libx-1.0-cuda126_0.conda", "cuda-version >=12.6,<13"),
        depends("linux-64/liby-2.0-0.conda", "__cuda >=12.4", field=field),
    )
    needs = derive_needs(load_environment(write_workspace(None, text)), caches=())
    assert needs.cuda_runtime_min == "12.4"
    (told,) = [warning for warning in needs.warnings if "12.4" in warning]
    assert told.startswith(f"liby 2.0 0 ({field}: __cuda >=12.4) asks for a driver of CUDA 12.4 or later")


def test_a_compute_capability_that_a_package_states_is_asked_for(write_workspace: Write) -> None:
    """``__cuda_arch`` is the GPU's capability, as ``__cuda`` is the driver's CUDA."""
    text = lock(
        depends("noarch/cuda-version-12.6-h7480c83_3.conda", "__cuda >=12", field="constrains"),
        depends("linux-64/libx-1.0-cuda126_0.conda", "cuda-version >=12.6,<13", "__cuda_arch >=8.6"),
    )
    assert derive_needs(load_environment(write_workspace(None, text)), caches=()).gpu_capability_min == "8.6"


@pytest.mark.parametrize(
    ("virtual", "specs", "level"),
    [
        ("__archspec=0=x86_64", (), None),
        ("__archspec=0=x86_64_v3", (), "x86_64-v3"),
        ("__archspec=0=zen4", (), "x86_64-v4"),
        ("__archspec=0=x86_64", ("__archspec 1.* ^(x86_64_v3|haswell|skylake)$",), "x86_64-v3"),
        ("__archspec=0=x86_64", ("__archspec 1 x86_64_v2", "__archspec >=1"), "x86_64-v2"),
        ("__archspec=0=x86_64", ('__archspec[version="1.*", build="^(zen4|skylake)$"]',), "x86_64-v3"),
        ("__archspec=0=x86_64", ("__archspec 1=power9le",), None),
    ],
)
def test_a_processor_that_the_lock_asks_for_becomes_a_requirement(
    write_workspace: Write, virtual: str, specs: tuple[str, ...], level: str | None
) -> None:
    """``__archspec`` of packages and of the platform becomes the Microarch of machines; a name
    that is not known is a warning.
    """
    helper = depends("noarch/helper-1.0-0.conda", *specs) if specs else HELPER
    needs = derive_needs(load_environment(write_workspace(None, lock(helper, virtual=[virtual]))), caches=())
    assert needs.microarch_min == level
    assert any("power9le" in warning for warning in needs.warnings) == ("power9le" in str(specs))
    wanted = None if level is None else f'(TARGET.Microarch >= "{level}")'
    assert processor_requirement(needs.to_json(), None) == wanted


def test_the_level_that_a_package_was_built_for_is_asked_for(write_workspace: Write) -> None:
    """conda-forge's builds for a level depend on a package whose version it is."""
    text = lock(depends("noarch/_x86_64-microarch-level-4-2_icelake.conda", "__archspec 1 icelake"))
    assert derive_needs(load_environment(write_workspace(None, text)), caches=()).microarch_min == "x86_64-v4"


def test_a_platform_that_declares_processor_and_gpu(write_workspace: Write) -> None:
    """The manifest's archspec and arch are those of the lock, which is not out of date for them, and both
    become needs.
    """
    declared = '{ name = "big", platform = "linux-64", archspec = "x86_64_v3", cuda = { driver = "12", arch = "8.6" } }'
    text = lock(
        depends("noarch/cuda-version-12.6-h7480c83_3.conda", "__cuda >=12", field="constrains"),
        depends("linux-64/libx-1.0-cuda126_0.conda", "cuda-version >=12.6,<13"),
        platform="big",
        subdir="linux-64",
        virtual=["__archspec=0=x86_64_v3", "__cuda=12", "__cuda_arch=8.6"],
    )
    folder = write_workspace(
        f'[workspace]\nname = "w"\nchannels = ["{CHANNEL}"]\nplatforms = [{declared}]\n[dependencies]\nlibx = "*"\n',
        text,
    )
    needs = derive_needs(load_environment(folder), caches=())
    assert (needs.microarch_min, needs.gpu_capability_min) == ("x86_64-v3", "8.6")
    _, delivery = prepare(Environment(folder), gpus=True, pool=None, build=False)
    assert delivery.machine_requirements == '(TARGET.Microarch >= "x86_64-v3")'
    assert with_needs(Resources(gpus=1), delivery.needs).gpus_minimum_capability == 8.6


@pytest.mark.parametrize(
    "head", ["workspace = { %s }", "[ workspace ]\n%s", '["workspace"]\n%s', "workspace.%s"]
)
def test_a_manifest_is_found_however_its_table_is_written(tmp_path: Path, head: str) -> None:
    """The workspace of a folder is found by what its manifest says, not by how that is spelled."""
    (tmp_path / "pixi.toml").write_text(head % 'name = "odd"' + '\n[package]\nname = "x"\n')
    (tmp_path / "below").mkdir()
    (tmp_path / "below/pixi.toml").write_text('# [workspace] is above\n[package]\nname = "y"\n')
    assert Workspace.open(tmp_path / "below").name == "odd"


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 5000 + "]" * 5000,
        "x = " + "{a=" * 5000 + "1" + "}" * 5000,
        '[system-requirements]\nlibc = { version = ["2.28"] }',
        '[system-requirements]\ncuda = "12; touch x"',
    ],
)
def test_what_no_manifest_has_is_an_error_in_words(write_workspace: Write, text: str) -> None:
    """Lists and tables without end, and versions that are none, are an error of the manifest, which it
    names.
    """
    folder = write_workspace(manifest(text), lock(HELPER))
    with pytest.raises(ManifestInvalid, match=r"pixi\.toml"):
        load_environment(folder)
