"""Calibration of probabilities, and thresholds for predictions."""

from eno.models.calibration.calibrate import Calibration as Calibration
from eno.models.calibration.calibrate import fit_calibration as fit_calibration
