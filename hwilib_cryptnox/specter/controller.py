"""The page of the Specter extension: adding a card as a device."""

from __future__ import annotations

from flask import redirect, url_for
from flask.wrappers import Response

from hwilib_cryptnox.specter import CryptnoxService


@CryptnoxService.blueprint.route("/")  # type: ignore[untyped-decorator] # Specter makes the blueprint and ships no types
def index() -> Response:
    """Go to Specter's page that reads the card's keys."""
    response: Response = redirect(url_for("devices_endpoint.new_device_keys", device_type="cryptnox"))
    return response
