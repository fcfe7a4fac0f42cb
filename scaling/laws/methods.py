"""How an interval was made, for a reader: the name of a method is data and stays English, its words are translated."""

from __future__ import annotations

import re

from scaling.translation import tr


def method_in_words(method: str) -> str:
    """The name of a method in the reader's language.

    Example:
        >>> method_in_words("jackknife by budget")
        'jackknife by budget'
    """
    words = _words()
    longest_first = sorted(words, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, longest_first)), lambda found: words[found[0]], method)


def _words() -> dict[str, str]:
    return {
        "jackknife by budget": tr("jackknife by budget"),
        "jackknife by trunk": tr("jackknife by trunk"),
        "jackknife": tr("jackknife"),
        "trunks left out": tr("trunks left out"),
        "one of": tr("one of"),
        "pairs bootstrap of runs": tr("pairs bootstrap of runs"),
        "pairs bootstrap of budgets": tr("pairs bootstrap of budgets"),
        "pairs bootstrap of trunks": tr("pairs bootstrap of trunks"),
        "bootstrap": tr("bootstrap"),
        "percentiles of": tr("percentiles of"),
        "percentile": tr("percentile"),
        "profile of the": tr("profile of the"),
        "profile": tr("profile"),
        "vertex": tr("vertex"),
        "HC2 threshold": tr("HC2 threshold"),
        "HC2 covariance": tr("HC2 covariance"),
        "classical covariance": tr("classical covariance"),
        "classical t": tr("classical t"),
        "in logs": tr("in logs"),
        "normal draws": tr("normal draws"),
        "t draws": tr("t draws"),
        "t with": tr("t with"),
        "draws": tr("draws"),
        "degrees of freedom": tr("degrees of freedom"),
        "degree of freedom": tr("degree of freedom"),
        "line through the minima": tr("line through the minima"),
        "first order": tr("first order"),
        "with a run's noise": tr("with a run's noise"),
        "no interval published for this law": tr("no interval published for this law"),
        "no interval": tr("no interval"),
    }
