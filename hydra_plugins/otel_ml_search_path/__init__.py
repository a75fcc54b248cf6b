"""Where Hydra finds the configs of otel_ml: the groups `otel_ml`, `hydra/callbacks` and `hydra/job_logging`.

Every Hydra application in an environment with otel_ml loads this module, so it loads nothing of otel_ml, and the
configs are beside it.
"""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class OtelMlSearchPath(SearchPathPlugin):
    """Appends the configs of otel_ml to those of the application, whose own go before."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Add the place."""
        search_path.append("otel_ml", f"pkg://{__name__}.conf")
