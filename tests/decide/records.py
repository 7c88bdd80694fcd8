"""Records of decisions on synthetic learners, as `deciding` writes them."""

from __future__ import annotations

from pathlib import Path

from sam_dash.decide.record import ANSWER, BEGIN, RULE, Decision, Effort, Record, read
from sam_dash.decide.rule import decide
from sam_dash.results import answer as words
from sam_dash.runs.plain import plain
from tests.decide.learners import Learner


def written(path: Path, gain: float = 2.0, margin: float = 1.0, score: str = "error_rmse", until: str = "") -> Decision:
    """A decision of a learner of that gain, its record ended before the first line that is called `until`.

    Units are sds of a pair; a score that is a fraction has a hundredth of them.
    """
    learner, record = Learner(gain, seed=4), Record(path)
    by = 0.01 if score == "acc" else 1.0
    ended: list[bool] = []

    def scaled(arms, seeds):
        return {arm: {s: 0.8 + by * v for s, v in of.items()} for arm, of in learner(arms, seeds).items()}

    def log(what, found):
        if until and what == until:
            ended.append(True)
        if not ended:
            effort = {"effort": plain({"base": Effort(5, 1e4, 12.0), "sam": Effort(5, 2e4, 25.0)})}
            record.say(what, {**plain(found), **effort})

    record.say(BEGIN, {"margin": by * margin, "rule": RULE, "problem": "mine.py", "score": score, "began": 1.7e9})
    found = decide(scaled, learner.arms("base"), lambda _: learner.arms("sam"), by * margin, log)
    if not until:
        text = words.sentence(found, score, by * margin, Effort(1, 2.0, 2.1))
        record.say(ANSWER, {"verdict": found.verdict, "sentence": text})
    out = read(path)
    assert out is not None
    return out
