"""A trained model: how it is kept (checkpoints, snapshots, pictures), loaded, and drawn with."""
