"""Files that lie elsewhere: in a bucket, on the hub, on a web server, inside a tar or a table.

A URL (of any file system that `fsspec` knows) has a path in the cache folder (`Cache.path_of`), and whoever works with
paths goes on doing so. Of clips only the names are there, as small files that say where the bytes are (`Remote`); the
bytes come when a clip is read (`Cache.held`), into a part of the cache that has a bound.
"""

from javisbench.places.cache import Cache, held, located, named
from javisbench.places.names import gather, holds_clips, is_table, tables_at
from javisbench.places.tables import NoVideosError
from javisbench.places.urls import PlaceError, is_url

__all__ = [
    "Cache",
    "NoVideosError",
    "PlaceError",
    "gather",
    "held",
    "holds_clips",
    "is_table",
    "is_url",
    "located",
    "named",
    "tables_at",
]
