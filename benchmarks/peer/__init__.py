"""The same networks and the same step in PyTorch; `tests/test_peer.py` holds the two against each other."""
