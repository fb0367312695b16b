"""Authors as keyed hashes: the same author is the same within an installation, and nobody outside it.

The key can be replaced; the one before goes on being known until all that was hashed with it has been erased.
"""

from __future__ import annotations

from hashlib import blake2b


def author_hash(name: str, key: bytes) -> str:
    """The hash of an author's native name, such as a DID or `ana@mastodon.example`; empty for no name.

    >>> author_hash("ana", b"one") == author_hash("ana", b"one"), author_hash("ana", b"two") == author_hash("ana", b"one")
    (True, False)
    """
    return blake2b(name.encode(), key=key, digest_size=12).hexdigest() if name else ""
