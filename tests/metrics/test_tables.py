"""Mean, text table and CSV of measurements, with missing and infinite numbers."""

import csv
import math

from metrics import tables as report

ONE = {"restoration": {"network": {"psnr": 20.0, "ssim": 0.5}, "JPEG": {"psnr": math.nan}}}
TWO = {"restoration": {"network": {"psnr": 30.0, "ssim": 0.75}, "JPEG": {"psnr": 31.0}}}


def test_the_mean_is_nan_when_an_image_has_no_number():
    mean = report.mean_of([ONE, TWO])
    assert mean["restoration"]["network"] == {"psnr": 25.0, "ssim": 0.625}
    assert math.isnan(mean["restoration"]["JPEG"]["psnr"])
    infinite = {"restoration": {"network": {"psnr": math.inf, "ssim": 1.0}, "JPEG": {"psnr": 1.0}}}
    assert report.mean_of([TWO, infinite])["restoration"]["network"]["psnr"] == math.inf


def test_table_columns_are_aligned_and_missing_numbers_are_dashes():
    lines = report.table({**report.mean_of([ONE, TWO]), "gray ramp": {"network": {"mean chroma": 0.0}}}).splitlines()
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[1].split() == ["network", "25.00", "0.625"] and lines[2].split() == ["JPEG", "-", "-"]
    assert lines[5].split() == ["network", "0"]


def test_csv_has_one_line_per_image_and_one_for_the_mean(tmp_path):
    mean = {**report.mean_of([ONE, TWO]), "gray ramp": {"network": {"mean chroma": 1.25}}}
    report.write_csv(tmp_path / "metrics.csv", {"a, b.png": ONE, "c.png": TWO}, mean)
    with open(tmp_path / "metrics.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["a, b.png", "c.png", "mean"]
    assert [row["restoration/network/psnr"] for row in rows] == ["20", "30", "25"]
    assert [row["restoration/JPEG/psnr"] for row in rows] == ["", "31", ""]
    assert [row["gray ramp/network/mean chroma"] for row in rows] == ["", "", "1.25"]
