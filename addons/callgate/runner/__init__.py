"""`callgate run` and `callgate doctor`, for runners: the standard library only, Python 3.8 and later.

`scripts/build-runner` packs this folder into one file; nothing here may import another room.
"""
