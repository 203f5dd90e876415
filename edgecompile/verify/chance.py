"""Chance: whether the float model does better than answers that do not look at the input."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgecompile import compare
from edgecompile.compare import Indices
from edgecompile.data.chance import Guess, guess, near_guess
from edgecompile.data.dataset import Dataset
from edgecompile.metrics import Metric
from edgecompile.report import Accuracy, Chance, Check, Finding, Interval
from edgecompile.verify.pairs import Reals
from edgecompile.verify.scores import FEWEST_UNITS, clusters_of, sampled_score
from edgecompile.verify.wording import drop_unit, show_score


def find_chance(output: Reals, data: Dataset, metric: Metric, *, seed: int) -> Chance | None:
    """Return how the float model stands to guessing on the rows of data; None where nothing is known about guesses.

    Args:
        output: of the float model, [n, ...], the one that the metric reads; finite.
        data: the n rows.
        metric: scores output.
        seed: of the bootstrap.
    """
    found = guess(metric.name, data, row=output.shape[1:])
    if found is None:
        return None
    lead, units = _lead(output, data, metric, found, seed=seed)
    proven = lead.low > 0 and units >= FEWEST_UNITS
    # Shares are counts divided by rows; other scores have the digits that every processor agrees on.
    score = found.score if metric.unit == "fraction" else compare.significant(found.score, compare.SCORE_DIGITS)
    return Chance(guess=score, answer=found.answer, lead=lead, units=units, proven=proven)


def check_chance(accuracy: Accuracy, findings: Sequence[Finding], *, whose: str = "") -> tuple[Check, ...]:
    """Return the checks that the float model does better than guessing; none where nothing is known about guesses.

    A model beyond chance is still not proven where another usual preprocessing does far better.

    Args:
        accuracy: of the build.
        findings: those about scores say what to do.
        whose: the model that was scored; by default the reference of accuracy.
    """
    chance, whose = accuracy.chance, whose or accuracy.reference
    if chance is None:
        return ()
    why = next((f for f in findings if f.rule.startswith("score-")), None)
    # On fewer than FEWEST_UNITS nothing is beyond noise, whatever the interval says.
    low = chance.lead.low if chance.proven else min(chance.lead.low, 0.0)
    kept = (
        f"{accuracy.metric} of the {whose} {show_score(accuracy, accuracy.float_score.value)}; {chance.answer} gives "
    )
    kept += f"{show_score(accuracy, chance.guess)}; on {chance.units:,} {accuracy.counted}"
    advice = why.remedy if why is not None else ""
    allow = "or let it pass: gate.allow_chance (--allow-chance)"
    checks = [
        Check(
            name="above-chance",
            title=f"lead of the {whose}'s {accuracy.metric} over {chance.answer}, low end of its 95% interval",
            actual=low,
            limit=0,
            relation="above",
            unit=drop_unit(accuracy),
            how="estimated",
            detail=kept if chance.proven or why is None else why.what,
            remedy="" if chance.proven else "; ".join(filter(None, (_needed(accuracy, chance) or advice, allow))),
            missed="not-proven",
        )
    ]
    if chance.tried and chance.proven:
        checks.append(
            Check(
                name="preprocessing",
                title=f"usual preprocessings under which the {whose} does far better",
                actual=len(chance.tried),
                limit=0,
                relation="at most",
                unit="count",
                how="measured",
                detail=why.what if why else ", ".join(chance.tried),
                remedy="; ".join(filter(None, (advice, allow))),
                missed="not-proven",
            )
        )
    return tuple(checks)


def _needed(accuracy: Accuracy, chance: Chance) -> str:
    """Return how many rows would tell the score from the guess; empty where it is near the guess itself."""
    if near_guess(accuracy.metric, accuracy.float_score.value, chance.guess):
        return ""
    sign = 1 if accuracy.higher_is_better else -1
    lead = sign * (accuracy.float_score.value - chance.guess)
    needed = compare.units_to_settle(lead, chance.lead, 0.0, chance.units) if lead > 0 else None
    more = f"about {max(needed, FEWEST_UNITS):,} (estimated)" if needed else "some more"
    return f"give more rows (--data): {more} would tell"


def _lead(output: Reals, data: Dataset, metric: Metric, found: Guess, *, seed: int) -> tuple[Interval, int]:
    """Return the interval of the lead over found, and the independent units that it stands on."""
    right = metric.correct(output, data) if metric.unit == "fraction" else None
    if right is not None and found.rows is not None and data.groups is None:
        theirs = found.rows > 0
        return compare.paired_interval(int((right & ~theirs).sum()), int((~right & theirs).sum()), len(right)), len(
            data
        )
    scored, sign = metric.bind(output, data), 1.0 if metric.higher_is_better else -1.0
    theirs_of = found.rows if found.rows is not None and scored.n == len(found.rows) else None
    clusters = clusters_of(data) if scored.n == len(data) else None

    def lead_of(units: Indices) -> tuple[float]:
        other = found.score if theirs_of is None else float(theirs_of[units].mean())
        return (sign * (sampled_score(scored, units) - other),)

    resamples = compare.resamples_for(scored.n)
    sampled = compare.bootstrap(lead_of, scored.n, seed=seed, resamples=resamples, clusters=clusters)
    value = compare.significant(*lead_of(np.arange(scored.n)), compare.SCORE_DIGITS)
    drawn = "rows" if scored.n == len(data) and clusters is None else "groups"
    return compare.percentile_interval(sampled[:, 0], value, drawn=drawn), len(clusters) if clusters else scored.n
