"""Techniques around the game: augmentation, bounded weights, masks, questions without labels, progressive growing."""
