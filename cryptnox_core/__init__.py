"""The Cryptnox smart card: transports, secure channel, commands, genuineness, and an emulated card."""
