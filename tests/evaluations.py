"""An evaluation as `t2igan.evaluate` writes it (docs/metrics.md), with figures made up: for tests of what shows it."""


def figure(value, low=None, high=None, real=None, floor=None, extractor="", direction="higher", group="", label=""):
    """One figure."""
    return {
        "value": value,
        "low": low,
        "high": high,
        "real": real,
        "floor": floor,
        "copied": None,
        "extractor": extractor,
        "direction": direction,
        "group": group,
        "label": label,
        "num_images": 425,
    }


def made_up_evaluation(digest, captions, split="test", values=("red", "blue", "none")):
    """An evaluation of the model with this hash, every kind of detail in it."""
    drawings = [{"caption": caption, "seed": 7 + i, "row": i} for i, caption in enumerate(captions)]
    judged = [d | {"attributes_right": 0.5, "rank": 3, "similarity": 0.4, "wrong": {}} for d in drawings]
    wrong = [d | {"wrong": {"hatColor": ["red", "blue"]}} for d in judged]
    near = [d | {"train_row": i, "distance": 0.5 + i, "copy": i == 0} for i, d in enumerate(drawings)]
    strips = [{"caption": caption, "seeds": [1, 2, 3, 4], "distance": 0.01} for caption in captions]
    spread = {"generated": [1, 2, 3, 4, 5], "real": [0.5, 1.5, 2.5, 3.5, 4.5]}
    n = len(values)
    counts = [[90 if row == column else row + 2 * column for column in range(n)] for row in range(n)]
    return {
        "format": "t2igan evaluation 1",
        "split": split,
        "seed": 0,
        "model": digest,
        "step": 4000,
        "data": "made up",
        "versions": {},
        "device": "cpu",
        "hashes": {},
        "counts": {"num_images": 425, "num_captions": 425, "num_real": 425, "num_train": 6227, "num_compared": 425},
        "seconds": {},
        "left_out": {"discriminator": "there is no checkpoint of the phase 'adversarial'"},
        "figures": {
            "frechet_distance/attributes": figure(
                0.287, 0.25, 0.33, 2.44, None, "attributes", "lower", "frechet_distance", "Fréchet distance"
            ),
            "frechet_distance/probe": figure(
                1.9, 1.7, 2.2, 1.4, None, "probe", "lower", "frechet_distance", "Fréchet distance"
            ),
            "attributes/mean": figure(
                0.998, 0.996, 0.999, 1.0, 0.41, "attributes", "higher", "attributes", "attributes right"
            ),
            "attributes/all": figure(
                0.984, 0.97, 0.99, 1.0, 0.002, "attributes", "higher", "attributes", "all at once"
            ),
            "attributes/each/hat": figure(0.95, 0.93, 0.97, 1.0, 0.4, "attributes", "higher", "attributes", "hat"),
            "attributes/each/hatColor": figure(
                1.0, 1.0, 1.0, 1.0, 0.3, "attributes", "higher", "attributes", "hatColor"
            ),
            "retrieval/caption_at_1/probe": figure(
                0.988, 0.97, 0.995, 0.991, 0.01, "probe", "higher", "retrieval", "R-precision at 1"
            ),
            "diversity_within/pixels": figure(
                0.039, 0.035, 0.042, None, None, "pixels", "real", "diversity", "within a caption"
            ),
            "memorisation/auc/pixels": figure(
                0.52, 0.49, 0.55, 0.5, None, "pixels", "lower", "memorisation", "nearer to training pictures"
            ),
            "something/new": figure(-0.00002, None, None, None, None, "", "real", "", ""),
        },
        "verdict": [
            {"finding": "memorised", "level": "bad", "text": "It copies <b>training</b> pictures.", "figures": []},
            {"finding": "swapped_values", "level": "note", "text": "Colours change places.", "figures": []},
            {"finding": "healthy", "level": "good", "text": "Captions are followed.", "figures": []},
        ],
        "details": {
            "attributes": {"hatColor": {"values": list(values), "generated": counts, "real": counts, "unknown": 0}},
            "binding": [
                {
                    "attributes": ["hairColor", "hatColor"],
                    "shared": ["red"],
                    "num_images": 812,
                    "wrong": 10,
                    "swaps": 1,
                    "leaks": 3,
                    "swaps_by_chance": 0.2,
                    "leaks_by_chance": 0.4,
                }
            ],
            "captions": {"best": judged, "worst": wrong},
            "memorisation": {"pixels": {"nearest": near, "typical": near, "quantiles": spread}},
            "discriminator": {"step": 4000, "train": spread["real"], "held_out": spread["real"]},
            "diversity": {"least": strips, "most": strips},
            "robustness": {
                "typos": {
                    "clean": {"attributes/mean": 0.99},
                    "changed": {"attributes/mean": 0.9},
                    "examples": [{"clean": caption, "changed": caption[::-1], "seed": 5} for caption in captions],
                }
            },
        },
    }
