"""Put the shipped weights into a wheel; an editable install finds them in data/weights, without a copy."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShippedWeights(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the folder that is put into the package; `version` is standard or editable."""
        if version == "standard":
            build_data["force_include"]["data/weights"] = "deepfake/weights"
