"""What tests of multitrack, and of backends of others, are made of.

memory.py   a service that holds runs in memory or in a folder      flaky.py   the same, failing by plan
"""
