"""The Cryptnox smart card as a Bitcoin hardware signer for HWI and the wallets that use it."""
