"""The names of the evaluators of importance, apart from what they need, which is slow to import."""

ADDITIVE, FANOVA, PED_ANOVA = EVALUATORS = ("additive", "fanova", "ped-anova")
