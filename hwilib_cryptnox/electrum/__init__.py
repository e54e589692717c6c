"""Plugin for Electrum 4.8: the card as a hardware device, reached by running `hwi-cryptnox`.

`scripts/build-electrum-plugin` zips this folder; Electrum installs the zip and imports it as
`electrum_external_plugins.cryptnox`. Inside Electrum nothing else of this project can be imported, and here nothing
else imports these modules: they know the program by its command line and its JSON alone. Without Electrum in them:
`program` (finding and running it), `errors`, `pins`, `cards` (its commands), `review`.
"""
