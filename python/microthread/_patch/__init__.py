# SPDX-License-Identifier: MIT
"""How microthread.patch works: what is replaced (table), by what (threads, console), the doing and
undoing (engine), what was copied or made earlier (repair), and what is said of it (report)."""
