// Mends Specter's dialogs for devices where a Cryptnox card is one. Put behind Specter's own scripts, which it wraps.
(() => {
    "use strict";

    const TYPE = "cryptnox";
    const UNLOCK = "cryptnox_unlock";
    const KIND = /^[\w-]+$/; // of a device
    const FINGERPRINT = /^[0-9a-f]{8}$/i;
    const NO_SCREEN = "The Cryptnox card has no screen. In a terminal, cryptnoxctl address --check ADDRESS asks the card";
    const NO_PATH = "Say which key signs: a derivation path like m/84h/0h/0h/0/0";
    const NO_ANSWER = "No device answers like that. If Specter uses a bridge, check its address under Settings, USB Devices";
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

    function told(error, ours) {
        if (ours && error && error.code === -32601) {
            return new CardError(NO_BRIDGE);
        }
        const text = error && error.message !== undefined ? error.message : error;
        // Specter's own text has a line break in it.
        return new CardError(escaped(String(text).replace(/^Internal error: /, "").replace(/<br>/g, " ")));
    }

    // What Specter makes HTML of, or hands on as a transaction. Of a bridge it may be anything, so it is looked at first.
    const KEYS = /^(\[[0-9a-f]{8}[/0-9hH']*\][1-9A-HJ-NP-Za-km-z]+\n?)+$/;
    const PSBT = /^cHNidP[89+/][A-Za-z0-9+/]+={0,2}$/; // what Specter takes for no PSBT it sends as a transaction
    const SIGNATURE = /^[A-Za-z0-9+/]+={0,2}$/;
    const CHECKS = {
        enumerate: (answer) => Array.isArray(answer) && answer.every(isDevice),
        extract_xpub: (answer) => answer === null || matches(KEYS, answer), // null: Specter says that there is no key
        extract_xpubs: (answer) => matches(KEYS, answer),
        sign_tx: (answer) => matches(PSBT, answer),
        sign_message: (answer) => matches(SIGNATURE, answer),
        [UNLOCK]: (answer, { path }) =>
            answer && answer.type === TYPE && answer.path === path && matches(FINGERPRINT, answer.fingerprint),
    };

    function isDevice(entry) {
        return entry && matches(KIND, entry.type) && (entry.type !== TYPE || typeof entry.path === "string");
    }

    function matches(form, text) {
        return typeof text === "string" && form.test(text);
    }

    const request = hwi.requestToHwiBridge.bind(hwi);
    hwi.requestToHwiBridge = async (command, params = {}, timeout = 0) => {
        const ours = command === UNLOCK || params.device_type === TYPE;
        if (pins.has(params.passphrase)) {
            params = { ...params, passphrase: ours ? pins.get(params.passphrase) : "" };
        }
        let answer;
        try {
            answer = await request(command, params, timeout);
        } catch (error) {
            throw told(error, ours);
        }
        if ((ours || command === "enumerate") && CHECKS[command] && !CHECKS[command](answer, params)) {
            throw new CardError(NO_ANSWER);
        }
        return answer;
    };

    const enumerateAll = window.enumerate;
    window.enumerate = async (types = null, path = null, passphrase = "") => {
        if (types !== TYPE || path === null || passphrase === null) {
            return enumerateAll(types === TYPE ? [TYPE] : types, path, passphrase); // Specter takes parts of a text, too
        }
        try {
            return [await hwi.requestToHwiBridge(UNLOCK, { path, passphrase })];
        } catch (error) {
            throw error instanceof CardError ? error : told(error, true);
        }
    };

    const select = window.selectDevice;
    window.selectDevice = async (devices, passphrase = null) => {
        // Specter makes its buttons of HTML, and a fingerprint is part of it: here it is one, or left out.
        for (const device of devices) {
            if (!matches(FINGERPRINT, device.fingerprint)) {
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
