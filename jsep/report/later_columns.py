"""Columns that older results do not have: (key, heading, unit, decimals, meaning) of each, by group."""

TRAINING_COLUMNS = (
    ("batch_statistics_accuracy", "clean, batch statistics", "%", 1, "Clean accuracy when batch normalisation uses the "
     "statistics of each batch of test images, as in training. Far above the clean accuracy: the running statistics "
     "are not those of the network, and the model is not broken."),
    ("noise_sensitivity", "map change under noise", "%", 1, "Mean Euclidean change of the map under uniform noise on "
     "the image, as a share of the size of the map: how much the map moves without an attack."),
    ("last_clean_accuracy", "clean, last", "%", 1, "Clean accuracy on the test images of the checkpoint after the last "
     "epoch."),
    ("last_robust_accuracy", "robust, last", "%", 1, "Its accuracy under the attack."),
    ("best_epoch", "best epoch", "", 1, "The epoch with the highest robust accuracy on the validation images."),
    ("best_clean_accuracy", "clean, best", "%", 1, "Clean accuracy of that epoch's checkpoint."),
    ("best_robust_accuracy", "robust, best", "%", 1, "Its accuracy under the attack."),
)  # fmt: skip

WORTH_COLUMNS = (
    ("auto_attack_accuracy", "AutoAttack acc.", "%", 1, "Share of the test images that withstand AutoAttack."),
    ("deletion_auc", "deletion AUC", "", 3, "Mean probability of the class while pixels are blackened, those "
     "that the map marks most first. Lower: the map names pixels that the model uses."),
    ("insertion_auc", "insertion AUC", "", 3, "The same while they are put onto black. Higher: more faithful."),
    ("road", "ROAD", "", 3, "As deletion, the pixels imputed from their neighbours. Lower: more faithful."),
    ("adversarial_insertion", "adv. insertion", "", 3, "Insertion AUC of the clean image in the order of the "
     "manipulated map, less that of its own. Below 0: the attack made the map less faithful."),
    ("max_sensitivity", "max sensitivity", "", 3, "Largest relative change of the map (L2) over random "
     "neighbours of the image. Lower: more stable."),
    ("relative_input_stability", "RIS", "", None, "Relative input stability: largest per-cent change of the "
     "map over that of the input. Near 0 for images with many black pixels, whatever the map does."),
    ("relative_output_stability", "ROS", "", None, "The same over the change of the logits."),
    ("relative_representation_stability", "RRS", "", None, "The same over that of the features."),
    ("randomised_similarity", "randomised", "", 3, "Spearman correlation to the map of the same model with "
     "permuted weights. Near 1: the explanation does not see the model."),
)  # fmt: skip
