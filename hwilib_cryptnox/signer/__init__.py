"""The card as a signer; knows neither hwilib nor click."""
