"""Which code runs: the repository with all its changes, or the modules of a project that is in none; how it was started.

entry        how this process was started          watch       brings it together, for one run
git          asks the user's git                   keep        what fits, holds no credential, and is kept
repository   commit, changes, files, submodules    found       what is found, before that
status, patch    git's answers, taken apart        modules, notebook    what no repository tells
by_hand, with_dulwich    without a git program
"""

from __future__ import annotations

from .watch import CodeWatch

__all__ = ["CodeWatch"]
