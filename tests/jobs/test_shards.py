"""The combined outcome of several processes is reported once, by the process that ends last."""

import json

import pytest

from jobs.manifest import Manifest
from jobs.shards import Outcome, Shard, combined_outcome

FIRST, SECOND, THIRD = (Shard(index, 3) for index in range(3))


@pytest.fixture
def end(tmp_path):
    """Function that ends a shard: in a process of its own, so with a manifest of its own; the combined outcome."""

    def end(shard, outcome=None, total=6, **made_by):
        return combined_outcome(outcome or Outcome(2, done=2), total, Manifest(tmp_path, made_by), shard)

    return end


def test_the_last_shard_adds_up_all(end):
    assert end(SECOND, Outcome(2, done=1, unfinished=["a.png"], full=True, seconds=3.0)) is None
    assert end(FIRST, Outcome(2, kept=2, seconds=1.0)) is None
    assert end(THIRD, Outcome(2, done=2)) == Outcome(6, 3, 2, ["a.png"], True, 3.0)


def test_a_set_of_shards_is_reported_once(end):
    assert [end(shard) is None for shard in (FIRST, SECOND, THIRD)] == [True, True, False]
    assert [end(shard) is None for shard in (THIRD, FIRST, SECOND)] == [True, True, False]


def test_of_two_shards_that_end_together_only_the_later_reports(tmp_path, monkeypatch):
    """Both lines are in the file before either process reads it."""
    manifests = [Manifest(tmp_path, {}) for _ in range(2)]
    add_shard, reports = Manifest.add_shard, []

    def both(manifest, shard, outcome):
        add_shard(manifest, shard, outcome)
        if shard == "1/2":
            reports.append(combined_outcome(Outcome(1), 2, manifests[1], Shard(1, 2)))

    monkeypatch.setattr(Manifest, "add_shard", both)
    reports.append(combined_outcome(Outcome(1), 2, manifests[0], Shard(0, 2)))
    assert [report is None for report in reports] == [False, True]


def test_a_shard_that_has_started_again_is_not_counted(end, tmp_path):
    end(FIRST)
    end(SECOND)
    Manifest(tmp_path, {}).add_shard("1/3", None)
    assert end(THIRD) is None
    assert end(FIRST) == Outcome(6, done=6)


def test_other_settings_other_counts_and_other_tasks_are_not_added_up(end):
    end(FIRST)
    end(SECOND, seed=1)
    assert end(THIRD) is None
    end(Shard(1, 2))
    assert end(SECOND, total=7) is None
    assert end(SECOND) == Outcome(6, done=6)


def test_lines_of_shards_are_not_taken_for_files(end, tmp_path):
    for shard in (FIRST, SECOND, THIRD):
        end(shard)
    assert not Manifest(tmp_path, {}).entries
    assert all("name" not in json.loads(line) for line in (tmp_path / "manifest.jsonl").read_text().splitlines())
