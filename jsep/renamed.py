"""Settings that have been renamed. Needs nothing, so that a flag is checked before JAX is imported."""

RENAMED = {
    "rival_weight": "regulariser_weight",
    "rival_noise_scale": "regulariser_noise_scale",
    "rival_cure_step": "regulariser_cure_step",
    "rival_top_k": "regulariser_top_k",
    "rival_num_gaps": "regulariser_num_gaps",
    "alone": "single_attacks",
    "ensemble": "ensemble_attacks",
    "outside": "out_of_range",
    "chosen": "recipe_set",
}
"""The name of a setting in older configurations and flagfiles -> its current name."""
