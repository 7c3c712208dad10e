from eno.console import progress


def test_away_from_a_terminal_there_is_a_line_for_every_tenth(capsys):
    with progress("working") as show:
        for done in range(1, 101):
            show(done, 100, "first")
        for done in range(1, 6):
            show(done, 5, "second")
    lines = capsys.readouterr().err.splitlines()
    assert lines[:10] == [f"working: {done} of 100, first" for done in range(10, 101, 10)]
    assert lines[10:] == [f"working: {done} of 5, second" for done in range(1, 6)]
