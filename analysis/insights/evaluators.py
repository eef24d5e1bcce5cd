"""The names of the evaluators of importance, apart from Optuna, which takes seconds to import."""

FANOVA, PED_ANOVA = EVALUATORS = ("fanova", "ped-anova")
