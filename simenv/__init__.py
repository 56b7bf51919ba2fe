"""simenv: a wind tunnel for recommenders.

Importing it registers the Gymnasium environment `simenv/Page-v0`.
"""

from gymnasium.envs.registration import register, registry

__version__ = "0.1.0"

if "simenv/Page-v0" not in registry:
    register(
        id="simenv/Page-v0",
        entry_point="simenv.scenarios.environments:page_env",
        vector_entry_point="simenv.scenarios.environments:page_vector_env",
    )
