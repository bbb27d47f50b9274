"""What W&B's answers mean."""

from __future__ import annotations

from multitrack.errors import AuthError, BackendError, PermanentError, TransientError

_NO_ANSWER = ("giving up after", 'Post "', "context deadline", "context canceled", "timeout", "connection", "EOF")
"""Signs in wandb-core's words that nobody has answered."""


def failure_of_answer(text: str, status: int, *, answered: bool = True) -> BackendError:
    """Return the error for a request that failed.

    Args:
        text: what wandb-core or the service says.
        status: the HTTP status, 0 if there was none: then the service answered with GraphQL errors, or nobody did.
        answered: False: wandb-core itself did not answer.
    """
    text = " ".join(text.split())[:500]
    if status == 401:
        return AuthError(f"W&B refuses the login: {text}. Set WANDB_API_KEY, or run `wandb login --relogin`")
    if status == 403:
        return PermanentError(f"W&B does not permit it: {text}. Has this login access to the entity?")
    if status in {400, 404, 409, 410, 413, 422}:
        return PermanentError(f"W&B refuses it: {text}")
    if status or not answered or any(sign in text for sign in _NO_ANSWER):
        return TransientError(f"W&B does not answer as it should: {text}")
    if "permission denied" in text.lower() or "not authorized" in text.lower():
        return PermanentError(f"W&B does not permit it: {text}. Has this login access to the entity?")
    return PermanentError(f"W&B refuses it: {text}")
