"""The estimate for large collections, compared with values computed by hand."""

import subprocess
import sys
from pathlib import Path

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
