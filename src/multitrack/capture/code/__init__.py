"""Which code runs: the repository with all its changes, or the modules of a project that is in none; and how it was started.

    watch, survey    bring it together, for one run            entry      how this process was started
    git              asks the user's git                       found      what is found
    repository       changes, files, repositories inside       keep       what of it is kept
    status, patch    git's answers, taken apart                modules, notebook    what no repository tells
    by_hand, with_dulwich    where there is no git program                search    for credentials

Everything is looked at once, in a thread, while training goes on; docs/records/code.md says what is recorded.
"""

from __future__ import annotations

from .watch import CodeWatch

__all__ = ["CodeWatch"]
