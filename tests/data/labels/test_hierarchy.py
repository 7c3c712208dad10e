import pytest
from hypothesis import given
from hypothesis import strategies as st

from eno.data.labels.hierarchy import Hierarchy, load_aliases
from eno.errors import LabelError

TEXT = """# genres
Rock ::genre
\tShoegaze
\tPost-Rock

Pop
\tDream Pop
\t\tShoegaze
"""


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("text", [TEXT, TEXT.replace("\t", "    "), "\ufeff" + TEXT.replace("\n", "\r\n")])
def test_indented_text_is_a_graph_with_several_parents(tmp_path, text):
    hierarchy = Hierarchy.load(write(tmp_path / "genres.txt", text))
    assert hierarchy.parents("shoegaze") == ["Rock", "Dream Pop"]
    assert hierarchy.ancestors("SHOEGAZE") == ["Dream Pop", "Pop", "Rock"]
    assert hierarchy.roots() == ["Rock", "Pop"]
    assert hierarchy.ancestors("unknown") == []


@pytest.mark.parametrize("header", ["", "child,parent\n"])
def test_two_columns_yield_the_same_hierarchy(tmp_path, header):
    rows = "Shoegaze,Rock\nPost-Rock,Rock\nDream Pop,Pop\n\nShoegaze,Dream Pop\n"
    hierarchy = Hierarchy.load(write(tmp_path / "genres.csv", header + rows))
    assert hierarchy.ancestors("Shoegaze") == ["Dream Pop", "Pop", "Rock"]
    assert len(hierarchy) == 5


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda pair: pair[0] < pair[1]), max_size=20))
def test_ancestors_match_a_recursive_search(pairs):
    hierarchy = Hierarchy([(f"g{child}", f"g{parent}") for child, parent in pairs])

    def walk(name):
        above = {parent for child, parent in pairs if child == name}
        return above.union(*map(walk, above))

    for name in range(10):
        assert hierarchy.ancestors(f"g{name}") == sorted(f"g{other}" for other in walk(name))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"A,B\nB,C\nC,A\n", r"a\.csv: The hierarchy contains a cycle: "),
        ("a.csv", b"A,B\nB\n", r"a\.csv: line 2: expected two columns, found \['B'\]"),
        ("a.txt", b"A\n        B\n    C\n", r"a\.txt: line 3: 'C' is indented by 4, which matches no line above it"),
        ("a.txt", "A\n\tB".encode("utf-16"), r"a\.txt: is UTF-16; save it as UTF-8"),
        ("a.txt", b"A\n\tcaf\xe9\n", r"a\.txt: line 2 is not UTF-8"),
    ],
)
def test_errors_name_the_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(LabelError, match=message):
        Hierarchy.load(tmp_path / name)


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b"])
def test_unusual_line_separators_are_spaces_within_a_name(tmp_path, separator):
    indented = write(tmp_path / "a.txt", f"Dream{separator}Pop\n\tShoegaze\n")
    table = write(tmp_path / "a.csv", f"Shoegaze,Dream{separator}Pop\n")
    assert (
        Hierarchy.load(indented).ancestors("shoegaze") == Hierarchy.load(table).ancestors("shoegaze") == ["Dream Pop"]
    )


def test_a_missing_file(tmp_path):
    with pytest.raises(LabelError, match=r"gone\.txt: cannot be read \(No such file or directory\)"):
        Hierarchy.load(tmp_path / "gone.txt")


def test_aliases_are_followed_to_the_end(tmp_path):
    path = write(tmp_path / "aliases.csv", "alias,label\nDnB,Drum & Bass\nDrum & Bass,Drum and Bass\n")
    assert load_aliases(path) == {"dnb": "Drum and Bass", "drum & bass": "Drum and Bass"}
    write(path, "a,b\nb,c\nc,a\n")
    with pytest.raises(LabelError, match="the alias 'a' leads back to itself"):
        load_aliases(path)
