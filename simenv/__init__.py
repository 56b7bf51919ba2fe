"""simenv: a wind tunnel for recommenders.

Importing it registers the Gymnasium environment `simenv/Page-v0`.
"""

from . import registration

__version__ = "0.1.0"

registration.register()
