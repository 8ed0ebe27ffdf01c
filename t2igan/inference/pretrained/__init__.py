"""What others have learned: text models and picture features, read from files that run no code (docs/pretrained.md)."""
