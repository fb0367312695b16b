"""Authors as keyed hashes: the same author is the same within an installation, and nobody outside it.

Nor does the id of a post name its author, where the source's own would.

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


def unnamed(post_id: str) -> str:
    """The id of a post without what it says: the same for the same post always, whatever the key.

    >>> unnamed("jetstream:at://did:plc:ana/app.bsky.feed.post/1")
    'jetstream:cd4be4cd1ebf6a7a977baf141f5164'
    """
    source, _, native = post_id.partition(":")
    return f"{source}:{blake2b(native.encode(), digest_size=15).hexdigest()}"
