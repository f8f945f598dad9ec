"""The processes that may hang, crash or be attacked, so that training cannot: skip this folder on a first reading.

symbolic.py    is this formula equal to that one? math-verify answers, in a process that is killed when it takes too long
sandbox.py     what does this code return or print? Linux processes without files, network, signals or time to waste
process.py     the killable helper process below both
"""
