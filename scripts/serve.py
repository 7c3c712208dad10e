"""Register a predictor as a ClearML model, and print the commands that deploy it with ClearML Serving.

For example::

    python scripts/serve.py models/eno --name eno-v1

ClearML must be configured (``clearml-init``). The script itself only registers the model.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from eno.console import errors
from eno.data.labels.encoder import LabelEncoder
from eno.errors import EnoError, TrackingError
from eno.inference.predictor_folder import LABELS, read_description
from eno.spec import label_of
from eno.tracking.clearml_environment import check_name
from eno.tracking.clearml_experiment import open_clearml
from eno.tracking.experiment import Command, RegisteredModel, Tracking
from eno.tracking.git_state import requirement, worker_obstacle
from eno.training.record import RECORD
from eno.training.tracker_reports import training_tag

PREPROCESS = Path(__file__).parents[1] / "eno" / "tracking" / "clearml_serving.py"
CLOSE_S = 600  # maximum time for the upload


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("model", type=Path, help="folder of a predictor made by 'eno train'")
    parser.add_argument("--name", default="eno-v1", help="name of the model")
    parser.add_argument("--project", default="eno/serving", help="ClearML project")
    parser.add_argument("--publish", action="store_true", help="mark the model as final")
    parser.add_argument("--service", default="SERVICE_ID", help="id of an existing serving service")
    parser.add_argument("--endpoint", default="tag", help="name of the endpoint, /serve/ENDPOINT/VERSION")
    parser.add_argument("--version", default="1", help="version of the endpoint")
    return parser.parse_args()


def register(folder: Path, *, name: str, project: str, publish: bool = False) -> str:
    """Upload a predictor to the model registry and return the id of the model."""
    description = read_description(folder)
    check_name("model", name)
    tracking = Tracking(mode="online", project=project, name=f"register {name}", close_s=CLOSE_S)
    command = Command("serving", f"register {name}", ("scripts/serve.py", *sys.argv[1:]))
    experiment = open_clearml(tracking, command, say=lambda line: errors.print(line, markup=False))
    assert experiment is not None  # mode="online"
    model = RegisteredModel(
        name=name,
        folder=folder,
        labels=tuple(LabelEncoder.load(folder / LABELS).all_labels),
        fingerprint=label_of(description.specs),
        tags=("eno", training_tag(folder)) if (folder / RECORD).is_file() else ("eno",),
        publish=publish,
    )
    try:
        experiment.model(model)
    finally:
        experiment.close()
    if not experiment.models:
        raise TrackingError(f"{folder}: the server did not register the predictor; see the lines above.")
    return experiment.models[0]


def commands(model_id: str, *, service: str, endpoint: str, version: str) -> list[str]:
    """Return the commands that deploy a registered model, in order."""
    add = [
        "clearml-serving", "--id", service, "model", "add", "--engine", "custom", "--endpoint", endpoint,
        "--version", version, "--preprocess", str(PREPROCESS), "--model-id", model_id,
    ]  # fmt: skip
    create = [] if service != "SERVICE_ID" else ["clearml-serving create --name eno --project eno/serving"]
    return [*create, shlex.join(add)]


def main() -> int:
    """Register the predictor and print the commands that deploy it."""
    chosen = parse()
    try:
        model_id = register(chosen.model, name=chosen.name, project=chosen.project, publish=chosen.publish)
    except EnoError as error:
        errors.print(f"error: {error}", style="red", markup=False)
        return 1
    print(f"# model {model_id}")
    print("# once, on a machine with ClearML configured; 'create' prints the SERVICE_ID for the next command:")
    print("pip install clearml-serving")
    print("\n".join(commands(model_id, service=chosen.service, endpoint=chosen.endpoint, version=chosen.version)))
    print("# in the environment of the clearml-serving-inference container:")
    print(f"CLEARML_SERVING_TASK_ID={chosen.service}\nCLEARML_EXTRA_PYTHON_PACKAGES={requirement()}")
    obstacle = worker_obstacle(("-m", "eno"))
    if obstacle is not None:
        print(f"# The container cannot install this version of eno yet: {obstacle}")
    print("# then, with the address of that container:")
    address = f"http://127.0.0.1:8080/serve/{chosen.endpoint}/{chosen.version}"
    print(f"curl --data-binary @song.mp3 -H 'Content-Type: application/octet-stream' {address}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
