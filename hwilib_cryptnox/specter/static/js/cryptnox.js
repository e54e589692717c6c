// Mends Specter's dialogs for devices where a Cryptnox card is one. Put behind Specter's own scripts, which it wraps.
(() => {
    "use strict";

    const TYPE = "cryptnox";
    const UNLOCK = "cryptnox_unlock";
    const FINGERPRINT = /^[0-9a-f]{8}$/;
    const NO_SCREEN = "The Cryptnox card has no screen. In a terminal, cryptnoxctl address --check ADDRESS asks the card";
    const NO_PATH = "Say which key signs: a derivation path like m/84h/0h/0h/0/0";
    const NO_BRIDGE = "The bridge at the card's computer has no Cryptnox extension: start it with the extension, too";

    if (typeof hwi === "undefined" || typeof window.selectDevice !== "function") {
        return;
    }

    /** What a card, or the way to it, has to say. */
    class CardError extends Error {}

    // PINs by the symbols that Specter's scripts have in their place, since these log all that they handle. A symbol is
    // like no text that somebody types, and is left out where it is written as JSON.
    const pins = new Map();

    function hidden(pin) {
        if (!pin) {
            return pin;
        }
        const symbol = Symbol("PIN");
        pins.set(symbol, pin);
        return symbol;
    }

    /** Specter shows messages as HTML. */
    function escaped(text) {
        return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
    }

    function called(device) {
        return `Cryptnox ${device.path.replace(/^cryptnox:/, "")}`;
    }

    function described(device) {
        const error = device.needs_passphrase_sent ? null : device.error;
        const known = device.fingerprint || (error ? null : "PIN needed");
        return [called(device), known, error].filter(Boolean).join(" - ");
    }

    function told(error) {
        if (!error || typeof error.message !== "string" || error instanceof Error) {
            return error;
        }
        if (error.code === -32601) {
            return new CardError(NO_BRIDGE);
        }
        return new CardError(escaped(error.message.replace(/^Internal error: /, "")));
    }

    const request = hwi.requestToHwiBridge.bind(hwi);
    hwi.requestToHwiBridge = async (command, params = {}, timeout = 0) => {
        const ours = command === UNLOCK || params.device_type === TYPE;
        if (pins.has(params.passphrase)) {
            params = { ...params, passphrase: ours ? pins.get(params.passphrase) : "" };
        }
        try {
            return await request(command, params, timeout);
        } catch (error) {
            throw ours ? told(error) : error;
        }
    };

    const enumerateAll = window.enumerate;
    window.enumerate = async (types = null, path = null, passphrase = "") => {
        if (types !== TYPE || path === null || passphrase === null) {
            return enumerateAll(types, path, passphrase);
        }
        try {
            return [await hwi.requestToHwiBridge(UNLOCK, { path, passphrase })];
        } catch (error) {
            throw error instanceof CardError ? error : new CardError(escaped(error.message || error));
        }
    };

    const select = window.selectDevice;
    window.selectDevice = async (devices, passphrase = null) => {
        // Specter makes its buttons of HTML, and a fingerprint is part of it: here it is one, or left out.
        for (const device of devices) {
            if (device.type === TYPE && !FINGERPRINT.test(device.fingerprint)) {
                delete device.fingerprint;
            }
        }
        const selected = select(devices, passphrase); // its buttons are there when it begins to wait
        const buttons = document.getElementById("hwi_selector_container").children;
        devices.forEach((device, index) => {
            if (device.type === TYPE && buttons[index]) {
                buttons[index].textContent = described(device);
                buttons[index].style.height = "auto"; // Specter's has room for one line
            }
        });
        try {
            const device = await selected;
            if (device && device.type === TYPE && device.error && !device.fingerprint) {
                throw new CardError(escaped(device.error));
            }
            return device;
        } catch (error) {
            if (!(error instanceof CardError)) {
                throw error;
            }
            handleHWIError(error);
            return null;
        }
    };

    const ask = window.enterPassphrase;
    window.enterPassphrase = async (device) => {
        const input = document.getElementById("passphrase-input");
        // Specter adds a listener each time, and those of earlier times would take what is typed now; so would a second
        // click, which finds the field empty.
        const before = document.getElementById("passphrase-submit-btn");
        const button = before.cloneNode(true);
        button.disabled = false;
        button.addEventListener("click", () => {
            button.disabled = true;
        });
        before.replaceWith(button);
        if (device.type !== TYPE) {
            return ask(device);
        }
        const box = document.getElementById("hwi_passphrase");
        const heading = box.querySelector("h2");
        const text = heading.textContent;
        const close = document.createElement("p");
        close.textContent = "Close";
        close.className = "m-0 mt-4 cursor-pointer";
        close.addEventListener("click", () => hidePageOverlay());
        box.firstElementChild.appendChild(close);
        box.style.height = "auto"; // Specter's has room for one line above the field
        heading.textContent = `PIN of ${called(device)}`;
        input.value = "";
        input.autocomplete = "off";
        input.inputMode = "numeric";
        input.onkeydown = (event) => {
            if (event.key === "Enter") {
                button.click();
            }
        };
        try {
            const typed = ask(device);
            input.focus();
            const pin = await typed;
            return pin === null ? null : hidden(pin.trim());
        } finally {
            close.remove();
            box.style.height = "";
            heading.textContent = text;
            input.value = "";
            input.inputMode = "text";
            input.onkeydown = null;
        }
    };

    const sign = window.signMessage;
    window.signMessage = async (type, message, path, fingerprint = null) => {
        if (type === TYPE && ["", "m", "m/"].includes(path.trim())) {
            showError(NO_PATH, 10000);
            return null;
        }
        return sign(type, message, path, fingerprint);
    };

    // Only pages of a wallet have these two. The first calls the second before it waits for anything.
    const display = window.displayAddressOnDevice;
    const connected = window.getConnectedWalletDevices;
    if (display && connected) {
        let displaying = false;
        window.displayAddressOnDevice = (...values) => {
            displaying = true;
            try {
                return display(...values);
            } finally {
                displaying = false;
            }
        };
        window.getConnectedWalletDevices = async (types = null) => {
            if (displaying && types !== null) {
                types = types.filter((type) => type !== TYPE);
                if (!types.length) {
                    showError(NO_SCREEN, 10000);
                    return null;
                }
            }
            return connected(types);
        };
    }
})();
