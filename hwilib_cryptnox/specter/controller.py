"""The extension's address in Specter, and its script in Specter's pages."""

from __future__ import annotations

from flask import redirect, url_for
from flask.wrappers import Response

from hwilib_cryptnox import __version__
from hwilib_cryptnox.specter.page import with_script
from hwilib_cryptnox.specter.service import Cryptnox, CryptnoxService

# Specter makes the blueprint and ships no types.


@CryptnoxService.blueprint.route("/")  # type: ignore[untyped-decorator]
def index() -> Response:
    """Go to Specter's page that reads the card's keys."""
    response: Response = redirect(url_for("devices_endpoint.new_device_keys", device_type=Cryptnox.device_type))
    return response


@CryptnoxService.blueprint.after_app_request  # type: ignore[untyped-decorator]
def add_script(response: Response) -> Response:
    """Every page with Specter's dialogs for devices gets the script that mends them."""
    if response.mimetype == "text/html" and not response.is_streamed and not response.direct_passthrough:
        page = response.get_data()
        address = url_for(Cryptnox.blueprint(), filename="js/cryptnox.js", v=__version__)
        changed = with_script(page, address)
        if changed != page:
            response.set_data(changed)
    return response
