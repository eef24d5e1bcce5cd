"""The names of the evaluators of importance, apart from Optuna, which takes seconds to import."""

ADDITIVE, FANOVA, PED_ANOVA = EVALUATORS = ("additive", "fanova", "ped-anova")
