"""Descriptors of wallets with several keys as other programs' documentation and tests have them, and what becomes of
each here. Where a source has the receive half alone, the whole wallet is there too."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """One descriptor, or receive and change with a blank between."""

    source: str
    text: str
    words: str = ""
    """The policy, where it is accepted."""
    refused: str = ""
    """A part of the reason, where it is not."""
    address: str = ""
    """The first receive address, where the source tells it."""


_A = "xpub661MyMwAqRbcFW31YEwpkMuc5THy2PSt5bDMsktWQcFF8syAmRUapSCGu8ED9W6oDMSgv6Zz8idoc4a6mr8BDzTJY47LJhkJ8UB7WEGuduB"
_B = "xpub69H7F5d8KSRgmmdJg2KhpAK8SR3DjMwAdkxj3ZuxV27CprR9LgpeyGmXUbC6wb7ERfvrnKZjXoUmmDznezpbZb7ap6r1D3tgFxHmwMkQTPH"
_C = "xpub6ERApfZwUNrhLCkDtcHTcxd75RbzS1ed54G1LkBUHQVHQKqhMkhgbmJbZRkrgZw4koxb5JaHWkY4ALHY2grBGRjaDMzQLcgJvLJuZZvRcEL"
_CC1 = (
    "[effda333/48'/1'/0'/2']tpubDFS7QGevX3YHQZhsTChSdtxK2Njdoh4BBozoUNQc8qxpReHC2HjoPDpLfqsKvJ9SVzfMinhrGLbjzFxBNQoBv"
    "SdyAg8ig3bQE9UYwE6pgVi"
)
_CC2 = (
    "[0F056943/48'/1'/0'/2']tpubDF2rnouQaaYrXF4noGTv6rQYmx87cQ4GrUdhpvXkhtChwQPbdGTi8GA88NUaSrwZBwNsTkC9bFkkC8vDyGBVV"
    "AQTZ2AS6gs68RQXtXcCvkP"
)
_CORE = (
    "[64366408/44'/1'/0']tpubDCXQ3To3NsuzoTL2VsEFEGohQqnWFRHjno6axLhJf2HASarkm3ckwiBZoeo2Fg1iD6eLeEZ4eSnrteJzNsvR2xAZ3"
    "tm4mPottVvsnxrxGWk"
)
_LIANA_1 = (
    "[3689a8e7/48'/0'/0'/2']xpub6FKYNH4XbbdADV98yTVxgZZrtB4eE2tiUPreEv5iJAS3U1CvXGAtQGFXSHyFYdYNn9wNa9KU1pwfYoxQhwq4s"
    "PXGihD725VncdSy66v9WQa"
)
_LIANA_2 = (
    "[42e629dd/48'/0'/0'/2']xpub6DpQGv9LkwAQXvghWASvsfA7t1BVj7bGDQ939v32iB6aUJsMRB6inckim26gRp74NBdS2zuyfHNXDZ9dTuNXk"
    "FFiz6QvwEeVvBuC2cnRWQd"
)
_BSMS_1 = (
    "[1cf0bf7e/48'/0'/0'/2']xpub6FL8FhxNNUVnG64YurPd16AfGyvFLhh7S2uSsDqR3Qfcm6o9jtcMYwh6DvmcBF9qozxNQmTCVvWtxLpKTnhVL"
    "N3Pgnu2D3pAoXYFgVyd8Yz"
)
_BSMS_2 = (
    "[4fc1dd4a/48'/0'/0'/2']xpub6EebMbEps7ZcV3FYEnddRsvrFWDrt2tiPmCeM7pPXQEmphvq9ZfJ1LWFUDjf3vxCeBuPrfyGrMazWUsYsetrn"
    "HatQZVLJH7LsgCjtMqdzgj"
)
_BSMS_3 = (
    "[793cc70b/48'/0'/0'/1']xpub6ErVmcYYHmavsMgxEcTZyzN5sqth1ZyRpFNJC26ij1wYGC2SBKYrgt9yariSbn7HLRoZUvhUhmPfsRTPrdhhG"
    "FscpPZzmch6UTdmRP1aZUj"
)
_RECOVERY_1 = (
    "[f5acc2fd]tpubD6NzVbkrYhZ4YgUx2ZLNt2rLYAMTdYysCRzKoLu2BeSHKvzqPaBDvf17GeBPnExUVPkuBpx4kniP964e2MxyzzazcXLptxLXM"
    "odSVCVEV1T"
)
_RECOVERY_2 = (
    "[8a64f2a9]tpubD6NzVbkrYhZ4WmzFjvQrp7sDa4ECUxTi9oby8K4FZkd3XCBtEdKwUiQyYJaxiJo5y42gyDWEczrFpozEjeLxMPxjf2WtkfcbpU"
    "dfvNnozWF"
)
_FULLY_NODED = (
    "wsh(sortedmulti(2,[73756c7f/48h/0h/0h/2h]tpubDCKxNyM3bLgbEX13Mcd8mYxbVg9ajDkWXMh29hMWBurKfVmBfWAM96QVP3zaUcN51HvkZ"
    "3ar4VwP82kC8JZhhux8vFQoJintSpVBwpFvyU3/0/*,[f9f62194/48h/0h/0h/2h]tpubDDp3ZSH1yCwusRppH7zgSxq2t1VEUyXSeEp8E5aFS8m4"
    "3MknUjiF1bSLo3CGWAxbDyhF1XowA5ukPzyJZjznYk3kYi6oe7QxtX2euvKWsk4/0/*,[c98b1535/48h/0h/0h/2h]tpubDCDi5W4sP6zSnzJeowy"
    "8rQDVhBdRARaPhK1axABi8V1661wEPeanpEXj4ZLAUEoikVtoWcyK26TKKJSecSfeKxwHCcRrge9k1ybuiL71z4a/0/*))"
)
_HEX = (
    "022f01e5e15cca351daff3843fb70f3c2f0a1bdd05e5af888a67784ef3e10a2a01",
    "03acd484e2f0c7f65309ad178a9f559abde09796974c57e714c35f110dfc27ccbe",
)
_CORE_DOC, _SPARROW = "bitcoin/bitcoin doc/descriptors.md", "sparrowwallet/drongo OutputDescriptorTest.java"
_COLDCARD, _BIP129 = "Coldcard/firmware docs/bitcoin-core2of2desc.md", "bitcoin/bips bip-0129.mediawiki"

EXAMPLES = [
    # Bitcoin Core
    Example(_CORE_DOC, f"wpkh({_HEX[0]})", refused="one key alone"),
    Example(_CORE_DOC, f"sh(wpkh({_HEX[0]}))", refused="one key alone"),
    Example(_CORE_DOC, f"combo({_HEX[0]})", refused="one key alone"),
    Example(_CORE_DOC, f"sh(wsh(pkh({_HEX[0]})))", refused="one key alone"),
    Example(_CORE_DOC, f"multi(1,{_HEX[0]},{_HEX[1]})", refused="begins with"),
    Example(_CORE_DOC, f"sh(multi(2,{_HEX[0]},{_HEX[1]}))", refused="none of the keys is an extended one"),
    Example(_CORE_DOC, f"sh(sortedmulti(2,{_HEX[1]},{_HEX[0]}))", refused="none of the keys is an extended one"),
    Example(_CORE_DOC, f"wsh(multi(1,{_A}/1/0/*,{_B}/0/0/*))", refused="the receive half"),
    Example(_CORE_DOC, f"wsh(sortedmulti(1,{_A}/1/0/*,{_B}/0/0/*))", refused="the receive half"),
    Example(
        f"{_CORE_DOC}, and its change",
        f"wsh(multi(1,{_A}/1/0/*,{_B}/0/0/*)) wsh(multi(1,{_A}/1/1/*,{_B}/0/1/*))",
        "1 of 2 must sign",
    ),
    # Sparrow
    Example(_SPARROW, f"wsh(sortedmulti(2,{_A}/0/*,{_B}/0/*))", refused="the receive half"),
    Example(
        f"{_SPARROW}, both branches",
        f"wsh(sortedmulti(2,{_A}/<0;1>/*,{_B}/<0;1>/*))",
        "2 of 2 must sign",
        address="bc1qf5l7g5t5v2tp2wnwfeqlktkds7zvprmm7afjn6f85fdesc2pwedsh42kcl",
    ),
    Example(
        f"{_SPARROW}, multisigDescriptor",
        f"wsh(sortedmulti(2,[04fefef0/48h/0h/0h/2h]{_A}/<0;1>/*,[04ba1ef0/48h/0h/0h/2h]{_B}/<0;1>/*,"
        f"[04fefef1/48h/0h/0h/2h]{_C}/<0;1>/*))",
        "2 of 3 must sign",
    ),
    Example(
        f"{_SPARROW}, upper case",
        f"wsh(SORTEDMULTI(2,[04fefef0/48h/0h/0h/2h]{_A}/<0;1>/*,[04ba1ef0/48h/0h/0h/2h]{_B}/<0;1>/*))",
        refused="not an output descriptor",
    ),
    Example(
        f"{_SPARROW}, threshold out of range",
        f"wsh(sortedmulti(0,[04fefef0/48h/0h/0h/2h]{_A}/<0;1>/*,[04ba1ef0/48h/0h/0h/2h]{_B}/<0;1>/*))",
        refused="the threshold does not fit",
    ),
    Example(
        f"{_SPARROW}, testTaprootScriptPathRejected",
        "tr([73c5da0a/86h/0h/0h]xpub6BgBgsespWvERF3LHQu6CnqdvfEvtMcQjYrcRzx53QJjSxarj2afYWcLteoGVky7D3UKDP9QyrLprQ3VCEC"
        "oY49yfdDEHGCtMMj92pReUsQ/<0;1>/*,pk(68df03fc2c883065ee88fba337b713f30c1bc5366c586a58201a47d1540c3e8a))#q6ck4urp",
        "a script with 2 keys",
    ),
    # Coldcard
    Example(_COLDCARD, f"wsh(sortedmulti(2,{_CC1}/0/*,{_CC2}/0/*))#0u8amgsx", refused="the receive half"),
    Example(f"{_COLDCARD}, both branches", f"wsh(sortedmulti(2,{_CC1}/<0;1>/*,{_CC2}/<0;1>/*))", "2 of 2 must sign"),
    Example(  # the page's checksum is that of another text
        f"{_COLDCARD}, tutorial 1",
        f"wsh(sortedmulti(2,{_CC2}/0/*,{_CORE}/0/*))#u9kn5t5z",
        refused="checksum is wrong",
    ),
    Example(
        f"{_COLDCARD}, tutorial 1, both branches",
        f"wsh(sortedmulti(2,{_CC2}/0/*,{_CORE}/0/*)) wsh(sortedmulti(2,{_CC2}/1/*,{_CORE}/1/*))",
        "2 of 2 must sign",
    ),
    Example(f"{_COLDCARD}, the template", f"wsh(sortedmulti(M,{_CC2}/0/*,...))", refused="needs a number"),
    # BIP129
    Example(
        _BIP129,
        f"wsh(sortedmulti(2,{_BSMS_1}/**,{_BSMS_2}/**))",
        "2 of 2 must sign",
        address="bc1qrgc6p3kylfztu06ysl752gwwuekhvtfh9vr7zg43jvu60mutamcsv948ej",
    ),
    Example(
        f"{_BIP129}, fixed keys",
        "wsh(sortedmulti(1,[59865f44/48'/0'/0'/2']026d15412460ba0d881c21837bb999233896085a9ed4e5445bd637c10e579768ba,"
        "[b7044ca6/48'/0'/0'/2']030baf0497ab406ff50cb48b4013abac8a0338758d2fd54cd934927afa57cc2062))#rzx9dffd",
        refused="none of the keys is an extended one",
    ),
    # Liana and those who came from it
    Example(
        "PlanB's guide to Liana",
        f"wsh(or_d(pk({_LIANA_1}/<0;1>/*),and_v(v:pkh({_LIANA_2}/<0;1>/*),older(6))))#8alrve5h",
        "a script with 2 keys",
    ),
    Example(
        "Liana's descriptor tests",
        f"wsh(or_d(pk({_RECOVERY_1}/<0;1>/*),and_v(v:pkh({_RECOVERY_2}/<0;1>/*),older(10))))#d72le4dr",
        "a script with 2 keys",
    ),
    Example(
        "wizardsardine/async-hwi",
        "wsh(or_d(pk([f5acc2fd/49'/1'/0']tpubDCbK3Ysvk8HjcF6mPyrgMu3KgLiaaP19RjKpNezd8GrbAbNg6v5BtWLaCt8FNm6QkLseopKLf5M"
        "NYQFtochDTKHdfgG6iqJ8cqnLNAwtXuP/**),and_v(v:pkh(tpubDDtb2WPYwEWw2WWDV7reLV348iJHw2HmhzvPysKKrJw3hYmvrd4jasyoi"
        "oVPdKGQqjyaBMEvTn1HvHWDSVqQ6amyyxRZ5YjpPBBGjJ8yu8S/**),older(100))))",
        "a script with 2 keys",
    ),
    # The forms of bitcoindevkit.org's examples, with the keys from above
    Example(
        "bitcoindevkit.org, a vault",
        f"wsh(thresh(2,pk({_LIANA_1}/<0;1>/*),s:pk({_LIANA_2}/<0;1>/*),sln:older(2)))",
        "a script with 2 keys",
    ),
    Example(
        "bitcoindevkit.org, one key of two",
        f"sh(wsh(multi(1,{_BSMS_1}/<0;1>/*,{_BSMS_2}/<0;1>/*)))",
        "1 of 2 must sign",
    ),
    Example(
        "bitcoindevkit.org, leaves",
        f"tr({_BSMS_1}/<0;1>/*,{{pk({_BSMS_2}/<0;1>/*),multi_a(2,{_BSMS_3}/<0;1>/*,{_LIANA_1}/<0;1>/*)}})",
        "a script with 4 keys",
    ),
    # Fully Noded (Specter's form)
    Example("Fonta1n3/FullyNoded Docs/Wallets.md", _FULLY_NODED, refused="the receive half"),
    Example(
        "Fonta1n3/FullyNoded Docs/Wallets.md, both branches",
        f"{_FULLY_NODED} {_FULLY_NODED.replace('/0/*', '/1/*')}",
        "2 of 3 must sign",
    ),
]
