# SPDX-License-Identifier: MIT
"""The machinery of bench/run.py: peers, processes, the load, results, and what is made of them."""
