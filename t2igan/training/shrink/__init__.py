"""Smaller models: channels that matter least are taken away, and the rest learns to draw what the whole model draws.

`student.py` chooses the channels, `distil.py` trains, `figures.py` measures before and after, `export.py` is
`t2igan.export`.
"""
