"""Modes, names and opening: what comes from elsewhere becomes no path that leads elsewhere, what is ours
stays ours.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _waiting import PATIENCE
from wingspan.worker import trust

MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "200"))
STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as a second user")


def as_stranger(code: str, *arguments: object) -> None:
    """Execute Python statements as another user."""
    text = (
        f"import os, sys\nos.setgroups([]); os.setgid({STRANGER}); os.setuid({STRANGER}); os.umask(0)\n{code}"
    )
    subprocess.run([sys.executable, "-c", text, *map(str, arguments)], check=True, timeout=PATIENCE)


@pytest.fixture
def open_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def shared(tmp_path_factory):
    """A folder like /tmp: everybody may make files, nobody may touch those of others; and so is the way
    to it.
    """
    base = Path("/tmp") / f"wingspan-trust-{os.getpid()}"  # pytest's own folder is closed to others
    base.mkdir(mode=0o1777)
    base.chmod(0o1777)
    yield base
    subprocess.run(["rm", "-rf", base], check=True)


def mode(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "/etc/passwd",
        "./x",
        "x/./y",
        "x/../../y",
        "x//y",
        "x/",
        "a\0b",
        "a\nb",
        "a\x1b[2Jb",
        "a\x7f",
        "a\x9b31m",
        "a\u202eb",
        "a\u200b",
        "a\udc80",
        "\uff0e\uff0e/x",
        "x/\u2025/y",
        "etc\uff0fpasswd",
        "x" * 256,
        "é" * 128,
        "/".join(["x" * 200] * 20),
        None,
        7,
        b"x",
    ],
)
def test_such_a_name_does_not_become_a_path(name):
    """A foreign name is refused unless it is a plain relative path that can be seen."""
    with pytest.raises(trust.BadName):
        trust.check_path(name)


@pytest.mark.parametrize(
    "name",
    ["a", "a/b", "..a", "a..", "lib/systemd/a\\x2db", "é", "share/ü ß/日本", "x" * 255, "~", "-rf", "$HOME"],
)
def test_names_of_real_packages_are_taken(name):
    """What packages on Linux are called stays possible, odd as it is."""
    assert trust.check_path(name) == name


def test_the_name_of_a_file_is_one_part():
    """Where a file's name is wanted, a path is refused."""
    assert trust.check_name("python-3.12.1-h1_0.conda") == "python-3.12.1-h1_0.conda"
    with pytest.raises(trust.BadName):
        trust.check_name("a/b")


@settings(max_examples=MANY)
@given(
    st.lists(
        st.sampled_from(["..", ".", "", "a", "b", "/", "\0", "\uff0e", "\u2025", "é", "A"]), max_size=6
    ).map("/".join)
    | st.text(max_size=12)
)
def test_what_is_taken_stays_below_its_folder(name):
    """Any name that is taken leads to a place strictly below the folder it is joined to, in each form of
    Unicode.
    """
    import unicodedata

    try:
        trust.check_path(name)
    except trust.BadName:
        return
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        place = os.path.normpath(f"/prefix/{unicodedata.normalize(form, name)}")
        assert place.startswith("/prefix/")
        assert place.count("/") == name.count("/") + 2


parts = st.sampled_from(["a", "A", "b", "c", "\uff41"])
paths = st.lists(parts, min_size=1, max_size=3).map("/".join)


@settings(max_examples=MANY)
@given(
    st.lists(
        st.tuples(st.sampled_from(["p1", "p2"]), paths, st.sampled_from([None, None, "b", "../x", "/out"])),
        max_size=8,
    )
)
def test_a_tree_without_fault_writes_nothing_elsewhere(tmp_path, entries):
    """Packages whose names have no fault can be written in any order: nothing lands beside the prefix, or
    is reached through a link.
    """
    tree = trust.Tree()
    for owner, name, link in entries:
        tree.add(owner, name, link)
    if tree.first_fault() is not None:
        return
    links = {trust.folded(name) for _, name, link in entries if link is not None}
    for _, name, _ in entries:
        above = name.split("/")[:-1]
        assert not any(trust.folded("/".join(above[: n + 1])) in links for n in range(len(above)))


@pytest.mark.parametrize(
    ("links", "names", "said"),
    [
        ({"x": "/home/u/.ssh"}, ["x/authorized_keys"], "below 'x', a symbolic link of one"),
        ({"x": "share"}, ["x/deep/down"], "below 'x'"),
        ({"X": "/home/u"}, ["x/file"], "below 'X'"),
        ({"\uff58": "/home/u"}, ["x/file"], "below"),
        ({"x": "../../key"}, ["x"], "symbolic link of that name"),
        ({"x": "a/../../../key"}, ["x"], "symbolic link of that name"),
    ],
)
def test_nothing_is_written_through_a_link(links, names, said):
    """What lies below another package's symbolic link, or has the name of one that leads out, is named as
    the fault.
    """
    tree = trust.Tree()
    for name, target in links.items():
        tree.add("one", name, target)
    for name in names:
        tree.add("two", name)
    owner, name, what = tree.first_fault()
    assert (owner, name) == ("two", names[0])
    assert said in what


def test_links_of_libraries_are_no_fault():
    """Links beside what they lead to, as every package of libraries has them, are taken."""
    tree = trust.Tree()
    tree.add("one", "lib/libz.so", "libz.so.1")
    tree.add("two", "lib/libz.so", "libz.so.1")
    tree.add("two", "lib/libz.so.1")
    tree.add("one", "lib/terminfo", "../share/terminfo")
    tree.add("two", "share/terminfo/x/xterm")
    assert tree.first_fault() is None


def test_reserved_names_are_refused():
    """A package cannot have files in a folder that is kept for us."""
    tree = trust.Tree(reserved=(".wingspan",))
    for name in (".wingspan", ".wingspan/activate.sh", ".Wingspan/x"):
        with pytest.raises(trust.BadName, match="reserved"):
            tree.add("one", name)


def test_modes_do_not_depend_on_the_umask(tmp_path, open_umask):
    """Folders are 0700, files 0600, programs 0700 where the umask takes nothing away."""
    trust.make_folder(tmp_path / "a/b")
    trust.write_whole(tmp_path / "a/b/file", b"x")
    trust.write_whole(tmp_path / "a/b/program", b"x", mode=trust.PROGRAM)
    with open(tmp_path / "a/b/opened", "w", opener=trust.opener) as file:
        file.write("x")
    modes = [mode(tmp_path / "a" / name) for name in ("", "b", "b/file", "b/program", "b/opened")]
    assert modes == [0o700, 0o700, 0o600, 0o700, 0o600]
    os.umask(0o777)
    trust.make_folder(tmp_path / "c")
    assert mode(tmp_path / "c") == 0o700


def test_a_folder_of_ours_is_closed_when_it_is_used(tmp_path):
    """A folder that an earlier version left open is closed; of one that may hold more, only the right of
    others to write goes.
    """
    for name, before, make, after in (
        ("a", 0o2775, trust.make_folder, 0o700),
        ("b", 0o777, trust.close_folder, 0o755),
        ("c", 0o755, trust.close_folder, 0o755),
        ("d", 0o1777, trust.close_folder, 0o1777),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name).chmod(before)
        make(tmp_path / name)
        assert mode(tmp_path / name) == after


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """A file that is written anew is the old one, whole, until the new one is."""
    path = tmp_path / "file"
    trust.write_whole(path, b"old")
    with pytest.raises(ZeroDivisionError), trust.replacing(path) as file:
        file.write(bytes(1 // file.write(b"")))
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_link_is_not_followed(tmp_path):
    """A link where our file should be is not opened, nor what it leads to changed."""
    (tmp_path / "victim").write_bytes(b"x")
    (tmp_path / "link").symlink_to("victim")
    with pytest.raises(OSError, match="symbolic links"):
        trust.open_file(tmp_path / "link", os.O_WRONLY | os.O_TRUNC)
    trust.write_whole(tmp_path / "link", b"new")
    assert (tmp_path / "victim").read_bytes() == b"x"
    assert not (tmp_path / "link").is_symlink()


def test_only_plain_files_are_opened(tmp_path):
    """A named pipe in the place of a file is refused at once: nobody waits for its other end."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(trust.NotClosed):
        trust.open_file(tmp_path / "pipe")


@as_root
def test_what_a_stranger_owns_is_not_ours(shared):
    """A file or folder that another user put in the place of ours is refused."""
    as_stranger("os.mkdir(sys.argv[1]); open(sys.argv[2], 'w').close()", shared / "folder", shared / "file")
    for use in (trust.make_folder, trust.close_folder):
        with pytest.raises(trust.NotClosed, match="another user"):
            use(shared / "folder")
    with pytest.raises(trust.NotClosed, match="another user"):
        trust.open_file(shared / "file")
    as_stranger("os.symlink('/', sys.argv[1])", shared / "link")
    with pytest.raises(trust.NotClosed, match="another user"):
        trust.make_folder(shared / "link")


@as_root
@pytest.mark.parametrize(
    ("change", "closed"),
    [
        ("", True),
        ("file.chmod(0o644)", True),
        ("file.chmod(0o666)", False),
        ("file.chmod(0o664); os.chown(file, 0, 4242)", False),
        ("os.chown(file, 54321, 0)", False),
        ("folder.chmod(0o777)", False),
        ("folder.chmod(0o775); os.chown(folder, 0, 4242)", False),
        ("os.chown(folder.parent, 54321, 0)", False),
        ("folder.chmod(0o1777)", True),
    ],
)
def test_who_can_change_a_file(shared, change, closed):
    """A file is closed if it and all folders above it are this user's or root's, and nobody else can
    write them.
    """
    folder = shared / "outer/inner"
    trust.make_folder(folder)
    file = folder / "file"
    trust.write_whole(file, b"x")
    exec(change)
    assert trust.is_closed(file) is closed


@as_root
def test_a_link_of_a_stranger_on_the_way_does_not_help(shared):
    """What is looked at is the place that a path leads to, and the way to it."""
    trust.make_folder(shared / "mine")
    trust.write_whole(shared / "mine/file", b"x")
    as_stranger("os.symlink(sys.argv[1], sys.argv[2])", shared / "mine", shared / "theirs")
    assert not trust.is_closed(shared / "theirs/file")
