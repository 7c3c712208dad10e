"""The estimate for large collections, compared with values computed by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "plan.py"


def table(*options):
    output = subprocess.run([sys.executable, SCRIPT, *options], capture_output=True, text=True, check=True).stdout
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in output.splitlines()]
    return {name: values for name, *values in rows if not name.startswith("-")}


def test_with_gpu():
    # 3e6 tracks × 8 windows / 1000 windows/s = 24,000 s; 8192 + 1 bytes per window
    plan = table("--gpu", "--encoder-rate", "1000", "--decode-rate", "90", "--dim", "1024", "--layers", "4",
                 "--tracks", "3e6", "--devices", "2")  # fmt: skip
    assert plan["tracks"] == ["3,000,000"]
    assert plan["device hours"] == ["7"]
    assert plan["days on 2 devices"] == ["0.1"]
    assert plan["decoding cores per device"] == ["12"]
    assert plan["stores"] == ["1"]
    assert plan["parts"] == ["2,930"]  # 3e6 × 8 × 8192 / 2**26
    assert plan["vectors, before compression"] == ["197 GB"]
    assert plan["one vector per track"] == ["49.2 GB"]


def test_without_gpu_encoder_and_decoders_share_the_cores():
    # 1 / (1/40 + 1/160) = 32 windows/s, so 100e6 tracks with 2 windows take 6.25e6 s
    plan = table(
        "--encoder-rate", "40", "--decode-rate", "160", "--dim", "200", "--windows", "2", "--tracks", "1e6", "1e8"
    )
    assert plan["device hours"] == ["17", "1,736"]
    assert plan["stores"] == ["1", "34"]
    assert plan["decoding cores per device"] == ["shared", "shared"]


def run(tracks, cpu, mib, *, labels=300):
    size = {"tracks": tracks, "listed": tracks, "labels": labels, "windows": 8, "dim": 512}
    used = {"seconds": 2 * cpu, "cpu": cpu, "mib": mib}
    return {"size": size, "cores": 2, "commands": {"similar": used, "train": used}}


@pytest.fixture
def planned(tmp_path):
    def planned(*runs):
        (tmp_path / "runs.json").write_text(json.dumps({"runs": runs}))
        return table("--encoder-rate", "40", "--decode-rate", "160", "--dim", "200", "--tracks", "1e4", "1e6",
                     "--rehearsal", tmp_path / "runs.json")  # fmt: skip

    return planned


def test_commands_are_on_the_line_through_two_rehearsals(planned):
    # 2 s and 1 GiB at 1,000 tracks, 20 s and 2 GiB at 10,000: 2 ms and 0.114 MiB per track
    assert planned(run(1000, 2, 1024), run(10_000, 20, 2048))["train"] == ["20 s, 2.0 GiB", "33 min, 112.0 GiB"]


def test_runs_with_other_options_are_not_compared(planned):
    large, small, other = run(10_000, 20, 2048), run(1000, 2, 1024), run(500, 9, 9, labels=20)
    assert planned(other, small, large) == planned(small, large)
    with pytest.raises(subprocess.CalledProcessError):
        planned(other, large)


def test_noise_does_not_make_larger_collections_cheaper(planned):
    assert planned(run(1000, 3, 1000), run(10_000, 2, 900))["similar"] == ["2 s, 0.9 GiB"] * 2


def test_the_measurements_in_the_repository_can_be_read():
    plan = table("--encoder-rate", "40", "--decode-rate", "160", "--dim", "200", "--tracks", "3e5")
    assert {"import", "match", "tag, Parquet", "similar", "serve, until it answers"} <= plan.keys()
