"""What a written answer means: the reading behind `rewards.accuracy`. Skip it on a first reading.

An answer goes through these files in order. `reading` finds it in a completion, `normalise` brings it into one spelling, `gold`
decides from the solution what kind of thing it must be (a number with a unit, an interval, a list, ...), `quantities`, `units`,
`intervals`, `lists` and `latex` read that kind, and `compare` gives the verdict.
"""
