"""The phases of a training, one file each: a method, a first state, a pure step."""
